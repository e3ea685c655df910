"""Text metrics against the libraries that define them, and against values that can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from m2ugen.evaluate.metrics import text
from m2ugen.evaluate.metrics.bert_score import BERTScore
from m2ugen.evaluate.metrics.facts import SCORES, families_f1, label, told_label
from m2ugen.evaluate.metrics.wordnet import WordNet
from m2ugen.score.attributes import Attributes

ANSWER, TRUTH = "the song is a slow piano piece", "this song is a slow and sad piano piece"


def test_words_bleu_is_sacrebleus() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    found = text.bleu([ANSWER, TRUTH, "no"], [TRUTH, TRUTH, TRUTH])
    assert found[0] == pytest.approx(sacrebleu.sentence_bleu(ANSWER, [TRUTH], use_effective_order=True).score / 100)
    assert found[1] == pytest.approx(1.0) and found[2] < 0.05


def test_published_bleu_counts_characters() -> None:
    pytest.importorskip("nltk")
    assert text.bleu_as_published(["abcd"], ["abcd"]) == [pytest.approx(1.0)]
    # 4-grams of "abcde": abcd, bcde; one of two is in "abcdX"; lengths are equal
    assert text.bleu4_as_published(["abcde"], ["abcdX"]) == [pytest.approx(0.5)]
    geometric = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25  # precisions of one to four characters
    assert text.bleu_as_published(["abcde"], ["abcdX"]) == [pytest.approx(geometric)]
    assert text.bleu_as_published([""], ["abcd"]) == [0.0]
    shorter = text.bleu4_as_published(["abcd"], ["abcdabcd"])[0]
    assert shorter == pytest.approx(torch.tensor(1 - 8 / 4).exp().item())  # the brevity penalty alone


def test_rouge_l_by_hand() -> None:
    pytest.importorskip("rouge_score")
    # longest common subsequence: song is a slow piano piece = 6 of 9 reference words, 6 of 7 answer words
    assert text.rouge_l_recall([ANSWER], [TRUTH]) == [pytest.approx(6 / 9)]
    assert text.rouge_l(["drums playing"], ["drum plays"]) == [pytest.approx(1.0)]  # by stems
    precision, recall = 6 / 7, 6 / 9
    assert text.rouge_l([ANSWER], [TRUTH]) == [pytest.approx(2 * precision * recall / (precision + recall))]


def test_meteor_matches_stems_and_synonyms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("nltk")
    monkeypatch.setattr(text, "synonyms", lambda: WordNet(None))
    exact = text.meteor(["the drums play"], ["the drums play"])[0]
    stems = text.meteor(["the drum plays"], ["the drums play"])[0]
    assert stems == pytest.approx(exact) and exact > 0.95
    assert text.meteor(["a quick tune"], ["a fast tune"])[0] < 0.8
    assert "no WordNet" in text.meteor_name()
    monkeypatch.setattr(text, "synonyms", lambda: database(tmp_path))
    assert text.meteor(["a quick tune"], ["a fast tune"])[0] == pytest.approx(
        text.meteor(["a fast tune"] * 1, ["a fast tune"])[0]
    )
    assert text.meteor_name() == "METEOR"
    assert text.meteor([""], ["a fast tune"]) == [0.0]


def database(folder: Path) -> WordNet:
    """A WordNet with one set of synonyms, in the format of the database files."""
    data = "00000000 00 a 02 fast 0 quick(a) 0 000 | moving with speed\n"
    for part in ("noun", "verb", "adj", "adv"):
        (folder / f"data.{part}").write_text(data if part == "adj" else "")
        lines = "fast a 1 0 1 1 00000000  \nquick a 1 0 1 1 00000000  \n" if part == "adj" else ""
        (folder / f"index.{part}").write_text("  1 a licence\n" + lines)
    return WordNet(folder)


def test_wordnet_files(tmp_path: Path) -> None:
    found = database(tmp_path).synsets("Quick")
    assert [[lemma.name() for lemma in each.lemmas()] for each in found] == [["fast", "quick"]]
    assert database(tmp_path).synsets("drum") == [] and not WordNet(None).found


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with a word tokenizer."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({*ANSWER.split(), *TRUTH.split(), "loud", "drums"})]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_bert_score_is_the_reference_librarys(bert_folder: Path) -> None:
    reference = pytest.importorskip("bert_score")
    candidates, references = [ANSWER, "loud drums"], [TRUTH, TRUTH]
    found = BERTScore(bert_folder, layer=2)(candidates, references)
    expected = reference.score(
        candidates, references, model_type=str(bert_folder), num_layers=2, idf=False, device="cpu"
    )
    for column, field in enumerate(("precision", "recall", "f1")):
        assert [getattr(match, field) for match in found] == pytest.approx(expected[column].tolist(), abs=1e-4)


def test_bert_score_of_the_same_and_of_nothing(bert_folder: Path) -> None:
    same, nothing = BERTScore(bert_folder)([ANSWER, " "], [ANSWER, TRUTH])
    assert same.f1 == pytest.approx(1.0, abs=1e-5) and nothing.f1 == 0.0


def test_facts() -> None:
    truth = Attributes(tempo=90.0, mode="minor", tonic=2, metre="3/4", genre="jazz", drums=True, instruments=("piano",))
    assert SCORES["genre"]("It is jazz.", truth) == 1.0 and SCORES["genre"]("It is rock.", truth) == 0.0
    assert SCORES["metre"]("It is in 3/4.", truth) == 1.0 and SCORES["metre"]("I do not know.", truth) == 0.0
    assert families_f1(("piano", "violin"), ("piano",)) == pytest.approx(2 / 3)
    assert families_f1((), ("piano",)) == 0.0
    assert (label("drums", truth), label("genre", truth), label("key", truth)) == ("drums", "jazz", None)
    assert told_label("drums", "No, there are no drums.") == "no drums" and told_label("genre", "Hm.") == "–"
