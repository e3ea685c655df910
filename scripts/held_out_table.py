"""Print nano's held-out figures as Markdown, for its model card.

    python scripts/held_out_table.py DATA [LIMIT]

DATA is what ``m2ugen data nano`` wrote; LIMIT (default 100) is the number of recordings and of prompts.
"""

import sys
from pathlib import Path

from m2ugen.evaluate.held_out import report
from m2ugen.pipeline import M2UGen

if __name__ == "__main__":
    print(report(M2UGen.from_pretrained("nano"), Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100))
