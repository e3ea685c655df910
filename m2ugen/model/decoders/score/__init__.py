"""nano's own decoder: it writes a plan, then plays it, then has it sounded.

``plan_tokens`` → ``plan_writer`` → ``plan_sampler`` (with ``plan_controls``) make the plan; ``note_fields`` →
``note_player`` → ``performer`` (on ``note_engine``, then ``finish``) the notes; ``decoder`` puts them together.
"""

from m2ugen.model.decoders.score.config import SamplingConfig, ScoreConfig
from m2ugen.model.decoders.score.decoder import ScoreDecoder

__all__ = ["SamplingConfig", "ScoreConfig", "ScoreDecoder"]
