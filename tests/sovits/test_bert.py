"""BERT: equal to the golden numbers up to the layer that is used; its tokeniser takes any character."""

import json

import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError, SynthesisError
from p2pvoice.sovits import bert
from p2pvoice.sovits.bert import Bert, BertSettings, Characters, phone_features

from . import numbers
from .filler import filled

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


@pytest.fixture(scope="module")
def g():  # type: ignore[no-untyped-def]
    return numbers.arrays("bert_tiny")


@pytest.fixture(scope="module")
def config(g) -> dict[str, object]:  # type: ignore[no-untyped-def]
    return json.loads(str(g["config"]))


@pytest.fixture(scope="module")
def tensors(config: dict[str, int]) -> dict[str, torch.Tensor]:
    """The published layout, from the top layers that are not used to the old names of norms."""
    settings = BertSettings(
        config["vocab_size"],
        config["hidden_size"],
        config["num_attention_heads"],
        config["num_hidden_layers"],
        config["intermediate_size"],
        config["max_position_embeddings"],
    )
    shapes = {f"bert.{k}": list(v.shape) for k, v in Bert(settings).state_dict().items()}
    made = filled(shapes, "bert_tiny.")
    # The golden model's word embeddings are tied to its language-model head, whose name came last.
    word = "bert.embeddings.word_embeddings.weight"
    head = "cls.predictions.decoder.weight"
    made[word] = filled({head: shapes[word]}, "bert_tiny.")[head]
    return made


def test_hidden_state_and_phone_features_equal_the_golden_numbers(tensors, config, g, device) -> None:  # type: ignore[no-untyped-def]
    model = Bert.from_tensors(tensors, config).to(device)
    assert model.settings.layers == config["num_hidden_layers"] - 2
    assert numbers.relative_error(model(g["in_ids"].to(device)), g["out_hidden_minus3"]) < 1e-5
    # The golden ids as a tokeniser would give them: any ten characters will do.
    ids = g["in_ids"][0].tolist()
    text = "一二三四五六七八九十"
    vocabulary = {"[CLS]": ids[0], "[SEP]": ids[-1], "[UNK]": 1} | dict(zip(text, ids[1:-1], strict=True))
    features = phone_features(model, Characters(vocabulary), text, g["in_word2ph"].tolist())
    assert numbers.relative_error(features, g["out_phone_features"]) < 1e-5


def test_old_names_of_norms_are_the_same_network(tensors, config, g) -> None:  # type: ignore[no-untyped-def]
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in tensors.items()
    }
    assert old.keys() != tensors.keys()
    ids = g["in_ids"]
    assert torch.equal(Bert.from_tensors(old, config)(ids), Bert.from_tensors(tensors, config)(ids))


def test_the_unused_layers_may_be_absent(tensors, config) -> None:  # type: ignore[no-untyped-def]
    short = {k: v for k, v in tensors.items() if ".layer.3." not in k and ".layer.4." not in k}
    Bert.from_tensors(short, config)
    with pytest.raises(BadCheckpointError):
        Bert.from_tensors({k: v for k, v in short.items() if ".layer.2." not in k}, config)


@pytest.mark.parametrize(
    "wrong",
    [{"num_attention_heads": 7}, {"num_hidden_layers": 2}, {"num_hidden_layers": 65}, {"layer_norm_eps": 1}],
)
def test_a_configuration_that_does_not_fit_is_refused(tensors, config, wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadCheckpointError):
        Bert.from_tensors(tensors, config | wrong)


def test_every_character_is_one_token() -> None:
    characters = Characters.from_text("\n".join([*SPECIAL, "好", "a", "，"]) + "\n")
    assert characters.ids("好A，龘") == [2, 4, 5, 6, 1, 3]


def test_a_vocabulary_without_its_marks_is_refused() -> None:
    with pytest.raises(BadCheckpointError, match="SEP"):
        Characters.from_text("[CLS]\n[UNK]\n好\n")


def test_a_vocabulary_is_bounded() -> None:
    lines = SPECIAL + [str(i) for i in range(bert.VOCABULARY_LIMIT - len(SPECIAL))]
    assert len(Characters.from_text("\n".join(lines)).vocabulary) == bert.VOCABULARY_LIMIT
    with pytest.raises(BadCheckpointError):
        Characters.from_text("\n".join([*lines, "one more"]))


def test_text_and_phones_must_match_and_fit(tensors, config) -> None:  # type: ignore[no-untyped-def]
    model, characters = Bert.from_tensors(tensors, config), Characters.from_text("\n".join(SPECIAL))
    with pytest.raises(SynthesisError):
        phone_features(model, characters, "好好", [2])
    longest = model.settings.positions - 2
    assert phone_features(model, characters, "好" * longest, [2] * longest).shape == (64, 2 * longest)
    with pytest.raises(SynthesisError):
        phone_features(model, characters, "好" * (longest + 1), [2] * (longest + 1))
