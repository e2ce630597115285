"""What flows between the nodes besides ComfyUI's core types."""

from comfy_api.latest import io

PoseKeypoint = io.Custom("POSE_KEYPOINT")  # OpenPose's JSON list, as other packs use it
PoseDetector = io.Custom("CRAFTERS_POSE_DETECTOR")
Placement = io.Custom("CRAFTERS_PLACEMENT")
Product = io.Custom("CRAFTERS_PRODUCT")
DINOv2Model = io.Custom("CRAFTERS_DINOV2")
ProductTokens = io.Custom("CRAFTERS_PRODUCT_TOKENS")
AnchorModel = io.Custom("CRAFTERS_ANCHOR_MODEL")
AnchorCondition = io.Custom("CRAFTERS_ANCHOR_CONDITION")
