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
Avatar = io.Custom("CRAFTERS_AVATAR")
BodyModel = io.Custom("CRAFTERS_BODY_MODEL")
Rig = io.Custom("CRAFTERS_RIG")
BodyMotion = io.Custom("CRAFTERS_BODY_MOTION")
Scene = io.Custom("CRAFTERS_SCENE")
AniCrafterWeights = io.Custom("CRAFTERS_ANICRAFTER")
WanModel = io.Custom("CRAFTERS_WAN")
