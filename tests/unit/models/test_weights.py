"""check_weights: what a folder lacks, from its headers alone."""

from __future__ import annotations

import shutil

import pytest

from rlhf.errors import ModelError
from rlhf.models.weights import check_weights


def test_a_language_model_and_a_classifier_pass_for_what_they_are(folder):
    check_weights(folder(), scored=False)
    check_weights(folder(kind="classifier"), scored=True)


def test_a_language_model_has_no_score(folder):
    with pytest.raises(ModelError, match="no trained score head"):
        check_weights(folder(), scored=True)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="not a model"):
        check_weights(str(tmp_path / "nowhere"), scored=False)


def test_weights_that_are_missing_or_damaged(folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder(), broken)
    (broken / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        check_weights(str(broken), scored=False)
    (broken / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        check_weights(str(broken), scored=False)
