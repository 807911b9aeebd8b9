"""Caffe's layer names of ICNet and the keys that pytorch-semseg and Supervisely have for them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch


def _blocks(stage: str, numbers: range, prefix: str) -> dict[str, str]:
    parts = {"1x1_reduce": "cbr1.cbr_unit", "3x3": "cbr2.cbr_unit", "1x1_increase": "cb3.cb_unit"}
    names = {
        f"{stage}_{number}_{layer}": f"{prefix}.layers.{index}.{unit}"
        for index, number in enumerate(numbers)
        for layer, unit in parts.items()
    }
    return names if numbers[0] != 1 else {**names, f"{stage}_1_1x1_proj": f"{prefix}.layers.0.cb4.cb_unit"}


UNITS: Mapping[str, str] = MappingProxyType(
    {
        "conv1_1_3x3_s2": "convbnrelu1_1.cbr_unit",
        "conv1_2_3x3": "convbnrelu1_2.cbr_unit",
        "conv1_3_3x3": "convbnrelu1_3.cbr_unit",
        **_blocks("conv2", range(1, 4), "res_block2"),
        **_blocks("conv3", range(1, 2), "res_block3_conv"),
        **_blocks("conv3", range(2, 5), "res_block3_identity"),
        **_blocks("conv4", range(1, 7), "res_block4"),
        **_blocks("conv5", range(1, 4), "res_block5"),
        "conv5_4_k1": "conv5_4_k1.cbr_unit",
        "conv1_sub1": "convbnrelu1_sub1.cbr_unit",
        "conv2_sub1": "convbnrelu2_sub1.cbr_unit",
        "conv3_sub1": "convbnrelu3_sub1.cbr_unit",
        "conv_sub4": "cff_sub24.low_dilated_conv_bn.cb_unit",
        "conv3_1_sub2_proj": "cff_sub24.high_proj_conv_bn.cb_unit",
        "conv_sub2": "cff_sub12.low_dilated_conv_bn.cb_unit",
        "conv3_sub1_proj": "cff_sub12.high_proj_conv_bn.cb_unit",
    }
)
"""By Caffe's name: the Sequential that holds the convolution as ``0`` and its batch normalisation as ``1``."""

HEADS: Mapping[str, str] = MappingProxyType(
    {
        "conv6_cls": "classification",
        "conv6_sub2": "cff_sub12.low_classifier_conv",
        "conv6_sub4": "cff_sub24.low_classifier_conv",
    }
)
"""By Caffe's name: the module."""

UNUSED = "pyramid_pooling.path_module_list."
"""How the keys begin that Caffe has no layer for."""

MODULES: Mapping[str, str] = MappingProxyType(
    {
        **{name: f"{unit}.0" for name, unit in UNITS.items()},
        **{f"{name}/bn": f"{unit}.1" for name, unit in UNITS.items()},
        **HEADS,
    }
)
"""By Caffe's name of a layer: the module."""


def to_caffe(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict under Caffe's names, without the convolutions that nothing uses; unknown keys stay as they are."""
    names = {module: name for name, module in MODULES.items()}
    return {_renamed(key, names): value for key, value in state.items() if not key.startswith(UNUSED)}


def to_published(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict under Caffe's names under pytorch-semseg's; unknown keys stay as they are."""
    return {_renamed(key, MODULES): value for key, value in state.items()}


def _renamed(key: str, names: Mapping[str, str]) -> str:
    module, _, parameter = key.rpartition(".")
    return f"{names.get(module, module)}.{parameter}"
