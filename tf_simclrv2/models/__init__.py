"""Networks: the ResNet encoder, the projection head, and SimCLR, which joins them."""

from tf_simclrv2.models.norm import Norm
from tf_simclrv2.models.projection_head import ProjectionHead
from tf_simclrv2.models.resnet import ResNet
from tf_simclrv2.models.simclr import SimCLR

__all__ = ["Norm", "ProjectionHead", "ResNet", "SimCLR"]
