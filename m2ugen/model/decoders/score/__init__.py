"""nano's own decoder: it writes a plan, then plays it, then has it sounded.

``plan_tokens`` → ``plan_writer`` → ``plan_sampler`` make the plan; ``note_fields`` → ``note_player`` →
``performer`` (on ``note_engine``) the notes; ``decoder.ScoreDecoder`` puts them together.
"""
