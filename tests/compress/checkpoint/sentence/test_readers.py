"""Modules of sentence encoders: read in every spelling, refused in one line."""

from __future__ import annotations

import pytest
import torch

from compress.checkpoint.model import Model
from compress.errors import ModelError
from compress.modeling.sentence_chain import DenseLayer, LayerNorm, Normalize, Pooling
from tests.support.sentences import NEW, NORMALIZE, cls_pooling, dense, layer_norm, pooling, save_sentence_encoder


def classes(path):
    return [type(module) for module in Model.open(path).sentence.chain.modules]


def test_every_module_is_read_in_its_order(bert, tmp_path):
    modules = [pooling("cls", "mean"), dense(128, 48), layer_norm(48), ("Dropout", {"dropout": 0.1}, {}), NORMALIZE]
    model = Model.open(save_sentence_encoder(tmp_path / "model", bert, modules))
    assert classes(model.path) == [Pooling, DenseLayer, LayerNorm, Normalize]
    assert (model.sentence.max_length, model.sentence.lowercase, model.sentence.chain.width(64)) == (40, False, 48)
    assert str(model.sentence.chain) == "cls and mean pooling, a dense layer 128 → 48, layer norm, normalize"


def test_old_and_new_names_and_spellings_are_alike(bert, tmp_path):
    old = Model.open(save_sentence_encoder(tmp_path / "old", bert, [cls_pooling(), dense(64, 64), NORMALIZE]))
    new = save_sentence_encoder(tmp_path / "new", bert, [pooling("cls"), dense(64, 64), NORMALIZE], names=NEW)
    assert classes(old.path) == classes(new)
    assert (
        old.sentence.chain.modules[0] == Model.open(new).sentence.chain.modules[0] == Pooling(modes=("cls",), takes=64)
    )


@pytest.mark.parametrize(("modules", "message"), [
    ([pooling("mean"), ("CNN", {}, {})],
     "{path}/modules.json: compress doesn't know the module sentence_transformers.models.CNN, only Pooling, Dense, "
     "LayerNorm, Normalize and Dropout of sentence-transformers behind a Transformer; without modules.json the "
     "transformer alone is compressed"),
    ([pooling("median")], "{path}/1_Pooling/config.json: the pooling mode is ['median']; there are cls, max, mean, "
                          "mean_sqrt_len_tokens, weightedmean, lasttoken"),
    ([("Pooling", {"pooling_mode": "cls"}, {})],
     "{path}/1_Pooling/config.json lacks embedding_dimension, the width of what is pooled"),
    ([pooling("mean", width=32)], "{path}/modules.json is no sentence encoder's: Pooling is 32 wide, but gets 64"),
    ([], "{path}/modules.json is no sentence encoder's: no module makes a sentence embedding, as a Pooling would"),
    ([pooling("mean"), dense(64, 8, "mine.Swish")],
     "{path}/2_Dense/config.json: compress doesn't know the activation mine.Swish; there are Identity, Tanh, ReLU, "
     "GELU, Sigmoid, SiLU, ELU, LeakyReLU, Softplus, Softsign, Mish"),
    ([pooling("mean"), ("Dense", {}, {"linear.bias": torch.ones(3)})],
     "{path}/2_Dense lacks linear.weight, which its Dense needs"),
    ([pooling("mean"), dense(64, 8, module_input_name="scores")],
     "{path}/2_Dense/config.json: compress knows no 'scores', only token_embeddings and sentence_embedding"),
])  # fmt: skip
def test_what_cant_be_an_embedding_is_refused(bert, tmp_path, modules, message):
    path = save_sentence_encoder(tmp_path / "model", bert, modules)
    with pytest.raises(ModelError) as error:
        Model.open(path)
    assert str(error.value) == message.format(path=path)


def test_pickled_modules_are_read_only_where_pickles_are_trusted(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean"), dense(64, 8)])
    (path / "2_Dense" / "model.safetensors").unlink()
    torch.save(dense(64, 8)[2], path / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="2_Dense/pytorch_model.bin is a pickle"):
        Model.open(path)
    weight = Model.open(path, trust_remote_code=True).sentence.chain.modules[1].weight
    assert torch.equal(weight, dense(64, 8)[2]["linear.weight"])


def test_a_link_out_of_the_checkpoint_is_refused(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [pooling("mean")])
    (tmp_path / "secret").write_text("{}")
    (path / "1_Pooling" / "config.json").unlink()
    (path / "1_Pooling" / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="1_Pooling/config.json is a link out of the checkpoint"):
        Model.open(path)
