import pytest

from townlet_behavior import ActionVocabulary, UnknownActionError, VocabularyError


def test_length_and_index() -> None:
    vocabulary = ActionVocabulary(keys=("wait", "eat"), kinds=("wait", "start"))
    assert (len(vocabulary), vocabulary.index("eat"), vocabulary.wait) == (2, 1, 0)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(UnknownActionError, match="one of the 1 actions of the vocabulary, got 'fly'"):
        ActionVocabulary(keys=("wait",), kinds=("wait",)).index("fly")


def test_the_digest_is_that_of_the_canonical_json_of_the_keys() -> None:
    # printf '["wait","caf\\u00e9"]' | sha256sum
    vocabulary = ActionVocabulary(keys=("wait", "café"), kinds=("wait", "start"))
    assert vocabulary.digest == "9c9efa20a62fd8cb355d91b4b83b38137680589151514bb49d2467dee56af365"


def test_the_digest_depends_on_keys_and_their_order_alone() -> None:
    first = ActionVocabulary(keys=("a", "b"), kinds=("x", "y"))
    assert first.digest == ActionVocabulary(keys=("a", "b"), kinds=("z", "z"), wait=1).digest
    assert first.digest != ActionVocabulary(keys=("b", "a"), kinds=("x", "y")).digest


@pytest.mark.parametrize(
    ("keys", "kinds", "wait", "message"),
    [
        ((), (), 0, "at least one action, got none"),
        (("a", "b", "a"), ("x", "x", "x"), 0, r"unique, got \['a'\] more than once"),
        (("a", "b"), ("x",), 0, r"one entry per key \(2\), got 1"),
        (("a", "b"), ("x", "x"), 2, r"`wait` must be in \[0, 2\), got 2"),
        (("a", "b"), ("x", "x"), -1, r"`wait` must be in \[0, 2\), got -1"),
    ],
)
def test_contradictions_are_refused(keys: tuple[str, ...], kinds: tuple[str, ...], wait: int, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        ActionVocabulary(keys=keys, kinds=kinds, wait=wait)


def test_no_vocabulary_has_no_action_and_is_false() -> None:
    none = ActionVocabulary.none()
    assert (len(none), bool(none), none.wait, none.keys, none.kinds) == (0, False, -1, (), ())
    assert none == ActionVocabulary.none() == ActionVocabulary(keys=(), kinds=(), wait=-1)
    with pytest.raises(UnknownActionError, match="one of the 0 actions of the vocabulary, got 'wait'"):
        none.index("wait")
    # printf '[]' | sha256sum
    assert none.digest == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


def test_kinds_or_an_index_without_keys_are_refused() -> None:
    for kinds, wait in (("x",), -1), ((), 1):
        with pytest.raises(VocabularyError, match="at least one action, got none"):
            ActionVocabulary(keys=(), kinds=kinds, wait=wait)
