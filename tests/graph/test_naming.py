"""Names: of words that tell a cluster from the others, or of time; never twice."""

from datetime import datetime

import numpy as np
import pytest

from app.core.vectors import ModelInfo, VectorKind, normalised
from app.graph.naming import (
    Suggestion,
    chosen_words,
    read_vocabulary,
    sentence_case,
    suggestions,
    time_name,
    vocabulary_key,
    word_vectors,
)
from app.storage.blobs import BlobStore

MODEL = ModelInfo("test-words", VectorKind.IMAGE, 6, "none", "made in tests")
WORDS = ["dog", "wedding", "concert", "snow", "event"]
SAID = np.eye(6, dtype=np.float32)[:5]


class Encoder:
    """Knows WORDS, and how often it was asked."""

    info = MODEL
    asked = 0

    def encode_texts(self, texts):
        self.asked += 1
        return SAID[[WORDS.index(one) for one in texts]]


def photos(*shown, noise=0.1, common=1.0):
    """A photo for each word, all of them of the word “event” too."""
    random = np.random.default_rng(4)
    rows = np.array([np.eye(6)[WORDS.index(word)] for word in shown])
    rows[:, 4] += common
    return normalised(rows + random.normal(scale=noise, size=rows.shape))


def test_the_vocabulary_is_ours_and_has_no_word_twice():
    words = read_vocabulary()
    assert 400 <= len(words) <= 600
    assert len({word.casefold() for word in words}) == len(words)
    assert all(word == word.strip() and not word.endswith(".") for word in words)
    assert "wedding ceremony" in words


def test_a_cluster_is_named_by_what_tells_it_from_the_others():
    vectors = photos(*["dog"] * 20, *["wedding"] * 20, *["concert"] * 20)
    labels = np.repeat([0, 1, 2], 20)
    found = suggestions(vectors, labels, WORDS, SAID)
    assert [offers[0].word for offers in found] == ["dog", "wedding", "concert"]
    assert all("event" not in [offer.word for offer in offers] for offers in found)


def test_a_mixed_bag_has_no_name():
    vectors = photos(*["dog", "wedding", "concert", "snow"] * 30)
    labels = np.random.default_rng(0).permutation(np.arange(120) % 4)
    assert suggestions(vectors, labels, WORDS, SAID) == [[], [], [], []]


def test_an_only_cluster_is_named_by_itself():
    said = np.eye(40, dtype=np.float32)
    vectors = normalised(said[[3] * 9] + np.random.default_rng(1).normal(scale=0.02, size=(9, 40)))
    words = [f"word {n}" for n in range(40)]
    (offers,) = suggestions(vectors, np.zeros(9, np.int64), words, said)
    assert [offer.word for offer in offers] == ["word 3"]
    (offers,) = suggestions(normalised(np.ones((9, 40))), np.zeros(9, np.int64), words, said)
    assert offers == []


def test_no_photos_and_no_words_have_no_names():
    nothing = np.empty((0, 6), np.float32)
    assert suggestions(nothing, np.empty(0, np.int64), WORDS, SAID) == []
    assert suggestions(photos("dog"), np.zeros(1, np.int64), [], SAID[:0]) == [[]]


def test_the_highest_score_chooses_first_and_no_word_goes_twice():
    offers = [
        [Suggestion("dog", 0.5), Suggestion("puppy", 0.2)],
        [Suggestion("dog", 0.9), Suggestion("cat", 0.1)],
        [Suggestion("dog", 0.4)],
        [Suggestion("Snow", 0.3)],
        [],
    ]
    assert chosen_words(offers, ["snow"]) == {0: "puppy", 1: "dog"}


@pytest.mark.parametrize(
    ("word", "shown"), [("dance floor", "Dance floor"), ("DJ", "DJ"), ("café", "Café"), ("", "")]
)
def test_words_are_shown_in_sentence_case(word, shown):
    assert sentence_case(word) == shown


def seconds(*clock):
    return np.array([datetime.fromisoformat(f"{c}+00:00").timestamp() for c in clock])


DAY = seconds("2026-06-12T09:00", "2026-06-12T12:00", "2026-06-12T18:00")
WEEKEND = seconds("2026-06-12T09:00", "2026-06-13T12:00", "2026-06-15T18:00")


@pytest.mark.parametrize(
    ("taken", "event", "name"),
    [
        (seconds("2026-06-12T14:10", "2026-06-12T15:30"), DAY, "14:10–15:30"),
        (seconds("2026-06-12T14:10"), DAY, "14:10"),
        (seconds("2026-06-12T14:10", "2026-06-12T15:30"), WEEKEND, "12 June, 14:10–15:30"),
        (seconds("2026-06-12T14:10", "2026-06-13T15:30"), WEEKEND, "12 June–13 June"),
        (seconds("2026-06-12T09:10", "2026-06-12T17:30"), DAY, None),
        (np.array([np.nan, np.nan]), DAY, None),
        (np.append(seconds("2026-06-12T14:10"), [np.nan, np.nan]), DAY, None),
        (DAY[:1], DAY[:1], None),
    ],
)
def test_times_name_what_words_don_t(taken, event, name):
    assert time_name(taken, event) == name


def test_one_wrong_clock_does_not_name_a_cluster():
    taken = np.append(seconds("2026-06-12T14:10") + np.arange(60) * 60, seconds("1970-01-02T00:00"))
    event = np.concatenate([taken, seconds("2026-06-12T09:00") + np.arange(540) * 60])
    assert time_name(taken, event) == "14:12–15:06"


@pytest.mark.parametrize("damage", [None, b"", b"not numpy", "shape"])
def test_vectors_of_words_are_kept_and_made_again_where_damaged(tmp_path, damage):
    blobs, encoder = BlobStore.in_folder(tmp_path), Encoder()
    key = vocabulary_key(MODEL, WORDS)
    first = word_vectors(blobs, MODEL, WORDS, lambda: encoder)
    if damage == "shape":
        word_vectors(blobs, MODEL, WORDS[:2], lambda: encoder)
        blobs.put(key, blobs.get(vocabulary_key(MODEL, WORDS[:2])))
    elif damage is not None:
        blobs.put(key, damage)
    asked = encoder.asked
    np.testing.assert_array_equal(word_vectors(blobs, MODEL, WORDS, lambda: encoder), first)
    assert encoder.asked == asked + (damage is not None)


def test_another_model_or_vocabulary_has_vectors_of_its_own():
    other = ModelInfo("other", VectorKind.IMAGE, 6, "none", "made in tests")
    keys = {
        vocabulary_key(MODEL, WORDS),
        vocabulary_key(other, WORDS),
        vocabulary_key(MODEL, WORDS[1:]),
    }
    assert len(keys) == 3
