"""For ``torch.hub.load``: ``icnet(weights="icnet_cityscapes_train_30k.caffemodel")``."""

from pytorch_icnet import icnet

dependencies = ["torch", "numpy", "scipy", "google.protobuf", "cv2", "click", "tqdm", "safetensors"]

__all__ = ["dependencies", "icnet"]
