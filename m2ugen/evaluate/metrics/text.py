"""What the paper measures of answers: BLEU, METEOR, ROUGE-L and BERTScore, per pair of an answer and its reference.

The published evaluation calls its libraries in ways of its own: BLEU on characters, "BLEU-4" as the precision of
4-grams alone, recall of ROUGE-L. The rows that stand beside published numbers are computed the same way and say so;
the usual forms are rows of their own. None of these measures hearing (arXiv 2511.05550): see the shuffled column.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from m2ugen.errors import MissingExtra
from m2ugen.evaluate.metrics.wordnet import synonyms

PairMetric = Callable[[Sequence[str], Sequence[str]], list[float]]


def bleu_as_published(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """BLEU over n-grams of one to four characters, without smoothing."""
    return _character_bleu(candidates, references, (0.25, 0.25, 0.25, 0.25))


def bleu4_as_published(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """Brevity penalty times the precision of 4-grams of characters."""
    return _character_bleu(candidates, references, (0.0, 0.0, 0.0, 1.0))


def bleu(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """BLEU over words in sacrebleu's form (13a tokens, exponential smoothing, effective order), 0-1."""
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtra("sacrebleu", "eval") from error
    scorer = BLEU(effective_order=True)
    return [scorer.sentence_score(c, [r]).score / 100.0 for c, r in zip(candidates, references, strict=True)]


def rouge_l_recall(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """Recall of the longest common subsequence of stemmed words, the published form of ROUGE-L."""
    return [score.recall for score in _rouge(candidates, references)]


def rouge_l(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """F1 of the longest common subsequence of stemmed words."""
    return [score.fmeasure for score in _rouge(candidates, references)]


def meteor(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """METEOR in NLTK's form. Exact and stem matches, and synonyms where WordNet is installed: see meteor_name."""
    try:
        from nltk.tokenize import wordpunct_tokenize
        from nltk.translate.meteor_score import single_meteor_score
    except ImportError as error:
        raise MissingExtra("nltk", "eval") from error
    dictionary = synonyms()
    return [
        float(single_meteor_score(wordpunct_tokenize(r), wordpunct_tokenize(c), wordnet=dictionary))
        if c.strip() and r.strip()
        else 0.0
        for c, r in zip(candidates, references, strict=True)
    ]


def meteor_name() -> str:
    """METEOR's name in a table: it says so where no synonyms were matched."""
    return "METEOR" if synonyms().found else "METEOR (exact and stem, no WordNet)"


def pair_metrics() -> dict[str, PairMetric]:
    """The metrics by the name of their row, in the paper's order, the usual forms last."""
    return {
        "BLEU (published form: characters)": bleu_as_published,
        "BLEU-4 (published form)": bleu4_as_published,
        meteor_name(): meteor,
        "ROUGE-L (published form: recall)": rouge_l_recall,
        "BLEU (words)": bleu,
        "ROUGE-L (F1)": rouge_l,
    }


def _character_bleu(candidates: Sequence[str], references: Sequence[str], weights: tuple[float, ...]) -> list[float]:
    try:
        from nltk.translate.bleu_score import sentence_bleu
    except ImportError as error:
        raise MissingExtra("nltk", "eval") from error
    with warnings.catch_warnings():  # about pairs without a common n-gram, whose score is 0 as it should be
        warnings.simplefilter("ignore")
        return [
            float(sentence_bleu([r], c, weights=weights)) if c and r else 0.0
            for c, r in zip(candidates, references, strict=True)
        ]


def _rouge(candidates: Sequence[str], references: Sequence[str]) -> list:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtra("rouge-score", "eval") from error
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return [scorer.score(r, c)["rougeL"] for c, r in zip(candidates, references, strict=True)]
