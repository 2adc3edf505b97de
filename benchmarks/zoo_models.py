"""The models of the zoo benchmark: how each is built, and how its parameters become generic."""

from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 11
IMAGE = 64
MANY_NORMS = 160
TORCHVISION_IMAGE = {"inception_v3": 128, "maxvit_t": 224, "vit_h_14": 56}
TIMM_IMAGE = {"nfnet": 128, "inception": 128, "xception": 128, "nasnet": 128, "visformer": 224}
TIMM = (
    "bat_resnext26ts",
    "beit_base_patch16_224",
    "botnet26t_256",
    "caformer_s18",
    "cait_xxs24_224",
    "coat_tiny",
    "coatnet_nano_rw_224",
    "convformer_s18",
    "convit_tiny",
    "convmixer_768_32",
    "convnext_atto",
    "convnextv2_atto",
    "crossvit_tiny_240",
    "cs3darknet_s",
    "cspresnet50",
    "davit_tiny",
    "deit_tiny_patch16_224",
    "deit3_small_patch16_224",
    "densenet121",
    "dla34",
    "dm_nfnet_f0",
    "dpn48b",
    "eca_nfnet_l0",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "efficientnet_b0",
    "efficientnetv2_rw_t",
    "efficientvit_b0",
    "efficientvit_m0",
    "ese_vovnet19b_dw",
    "eva02_tiny_patch14_224",
    "fastvit_t8",
    "fbnetc_100",
    "focalnet_tiny_srf",
    "gc_efficientnetv2_rw_t",
    "gcresnet33ts",
    "ghostnet_100",
    "ghostnetv2_100",
    "gmixer_12_224",
    "gmlp_ti16_224",
    "halonet26t",
    "hardcorenas_a",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "hrnet_w18_small",
    "inception_next_tiny",
    "inception_resnet_v2",
    "inception_v4",
    "lambda_resnet26t",
    "lcnet_050",
    "legacy_seresnet18",
    "levit_128s",
    "mambaout_femto",
    "maxvit_nano_rw_256",
    "mixer_s32_224",
    "mixnet_s",
    "mnasnet_100",
    "mobilenetv1_100",
    "mobilenetv2_050",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small",
    "mobileone_s0",
    "mobilevit_xxs",
    "mobilevitv2_050",
    "mvitv2_tiny",
    "nest_tiny",
    "nextvit_small",
    "nf_regnet_b0",
    "nf_resnet26",
    "pit_ti_224",
    "poolformer_s12",
    "poolformerv2_s12",
    "pvt_v2_b0",
    "rdnet_tiny",
    "regnetx_002",
    "regnety_002",
    "regnetz_b16",
    "repghostnet_050",
    "repvgg_a0",
    "repvit_m0_9",
    "res2net50_26w_4s",
    "resmlp_12_224",
    "resnest14d",
    "resnet18",
    "resnet26t",
    "resnetaa50",
    "resnetblur18",
    "resnetv2_50",
    "resnetv2_50x1_bit",
    "resnext26ts",
    "rexnet_100",
    "samvit_base_patch16_224",
    "seresnet18",
    "sequencer2d_s",
    "sehalonet33ts",
    "selecsls42",
    "semnasnet_050",
    "shvit_s1",
    "skresnet18",
    "starnet_s1",
    "swin_s3_tiny_224",
    "swin_tiny_patch4_window7_224",
    "swiftformer_xs",
    "swinv2_tiny_window8_256",
    "tf_efficientnet_b0",
    "tiny_vit_5m_224",
    "tinynet_e",
    "tnt_s_patch16_224",
    "tresnet_m",
    "twins_pcpvt_small",
    "twins_svt_small",
    "vgg11_bn",
    "visformer_tiny",
    "vit_tiny_patch16_224",
    "vit_relpos_small_patch16_224",
    "vit_small_patch16_dinov3",
    "vitamin_small_224",
    "volo_d1_224",
    "vovnet39a",
    "wide_resnet50_2",
    "xception41",
    "xcit_nano_12_p16_224",
)


def torchvision_names() -> list[str]:
    """Return all classification models of torchvision."""
    import torchvision

    return sorted(torchvision.models.list_models(module=torchvision.models))


def timm_names() -> list[str]:
    """Return a broad sample of timm, one or two of each family, as far as installed."""
    import timm

    return [name for name in TIMM if timm.is_model(name)]


def build(suite: str, name: str) -> tuple[nn.Module, Tensor]:
    """Build a model with generic parameters, and an image that fits it; always the same."""
    torch.manual_seed(0)
    model, size = (_torchvision if suite == "torchvision" else _timm)(name)
    image = torch.randn(1, 3, size, size)
    make_generic(model, image)
    return model.eval(), image


def _torchvision(name: str) -> tuple[nn.Module, int]:
    import torchvision

    size = TORCHVISION_IMAGE.get(name, IMAGE)
    options: dict[str, Any] = {"num_classes": CLASSES}
    if name.startswith("vit_"):
        options["image_size"] = size
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    return torchvision.models.get_model(name, weights=None, **options), size


def _timm(name: str) -> tuple[nn.Module, int]:
    import timm

    options: dict[str, Any] = {"pretrained": False, "num_classes": CLASSES}
    configuration = timm.get_pretrained_cfg(name)
    native = configuration.input_size[-1] if configuration else 224
    size = next((s for part, s in TIMM_IMAGE.items() if part in name), IMAGE)
    for wanted in (size, native):
        try:
            model = timm.create_model(name, img_size=wanted, **options)
            model.eval()(torch.zeros(1, 3, wanted, wanted))
        except (TypeError, ValueError, AssertionError, RuntimeError):
            continue
        return model, wanted
    model = timm.create_model(name, **options)
    for wanted in (size, native):
        try:
            model.eval()(torch.zeros(1, 3, wanted, wanted))
        except (ValueError, AssertionError, RuntimeError):
            continue
        return model, wanted
    raise RuntimeError(f"{name} takes neither {size} nor {native} pixels")


def make_generic(model: nn.Module, image: Tensor) -> None:
    """Make every constant parameter random and calibrate batch norms, in place.

    Freshly built models have zero biases and unit scales, which would hide mistakes.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                noise = torch.rand(parameter.shape, generator=generator)
                is_bias = name.endswith(("bias", "beta"))
                parameter.copy_(noise * 0.4 - 0.2 if is_bias else noise + 0.5)
        _calibrate(model, image, generator)


def _calibrate(model: nn.Module, image: Tensor, generator: torch.Generator) -> None:
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.eval()
    for norm in norms:
        norm.train()
    if norms:
        model(torch.cat([image, torch.randn(3, *image.shape[1:], generator=generator)]))
    model.eval()
    # Through hundreds of norms in a row such disturbances grow until the model is chaotic, and
    # equality cannot be checked.
    much = 1.0 if len(norms) < MANY_NORMS else 0.25
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        assert norm.running_mean is not None
        assert norm.running_var is not None
        spread = torch.rand(norm.running_var.shape, generator=generator)
        variance = torch.nan_to_num(norm.running_var, 1.0, 1.0, 1.0).clamp(1e-3, 1e6)
        shift = torch.randn(variance.shape, generator=generator) * variance.sqrt() * 0.2 * much
        norm.running_mean.copy_(torch.nan_to_num(norm.running_mean) + shift)
        norm.running_var.copy_(variance * (1 + (spread * 0.6 - 0.3) * much))
