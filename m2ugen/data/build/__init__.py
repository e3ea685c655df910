"""The paper's training sets from one's own media: MUCaps, MUEdit, MUImage, MUVideo, MusicQA.

Operators that each do one thing to a batch of records, an engine that streams batches through them and keeps every
result on disk, runners (this machine, Ray), and the published layouts that are written and read. Training is elsewhere.
"""
