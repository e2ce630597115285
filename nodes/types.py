"""What flows between the nodes besides ComfyUI's core types: all of it, each with its Python class and its shapes.

The name in `io.Custom` is part of saved graphs and never changes.
"""

from comfy_api.latest import io

# Poses: OpenPose's JSON as other packs use it, a list of one dict per frame: canvas_width and canvas_height in px, and
# people, each with flat x, y, score lists of 18 body joints, 70 or 68 face points and 21 points a hand.
PoseKeypoint = io.Custom("POSE_KEYPOINT")
# DWPose (preprocessors.pose.dwpose), or what maps a picture uint8 [H, W, 3] to a Pose as it does.
PoseDetector = io.Custom("CRAFTERS_POSE_DETECTOR")
# Placement (preprocessors.pose.placement): scale and bias (x, y) from the driving clip to the person photo.
Placement = io.Custom("CRAFTERS_PLACEMENT")

# Masks: a Tracker (preprocessors.segment.tracker), of which SAM is one.
Segmenter = io.Custom("CRAFTERS_SEGMENTER")
# A tuple of Prompt (preprocessors.segment.prompts): points, box or mask bool [H, W] on one frame.
SegmentPrompts = io.Custom("CRAFTERS_SEGMENT_PROMPTS")

# The product: ProductViews (preprocessors.product.views): views [3, 518, 518, 3] in 0…1 and masks [3, 518, 518].
Product = io.Custom("CRAFTERS_PRODUCT")
# A tuple of HeldProduct (models.staging.held): mesh, looks, size m, place [F or 1, 4, 4] at a wrist or in the scene.
HeldProduct = io.Custom("CRAFTERS_HELD_PRODUCT")
# DepthNetwork (preprocessors.product.object_depth): a picture's inverse depth.
DepthNetwork = io.Custom("CRAFTERS_DEPTH_NETWORK")
# DINOv2 (models.anchorcrafter.encoders): tokens of [3, S, S, 3].
DINOv2Model = io.Custom("CRAFTERS_DINOV2")
# ProductTokens (models.anchorcrafter.conditions): the views, and their tokens [1, 3·T, D].
ProductTokens = io.Custom("CRAFTERS_PRODUCT_TOKENS")

# AnchorCrafter: Loaded (models.loaded) of the AnchorCrafter module.
AnchorModel = io.Custom("CRAFTERS_ANCHOR_MODEL")
# AnchorCondition (models.anchorcrafter.conditions): maps [N, C, h, w], context [1, T, D], latents [1, 4, h, w].
AnchorCondition = io.Custom("CRAFTERS_ANCHOR_CONDITION")

# Avatars: Avatar (models.avatar.gaussians), N gaussians in a neutral pose.
Avatar = io.Custom("CRAFTERS_AVATAR")
# Rig (models.avatar.rig): of every gaussian its weights [N, 55] for the joints.
Rig = io.Custom("CRAFTERS_RIG")
# Character (preprocessors.person.character): body [1, 1694, 1022, 3] on white, head [1, 448, 448, 3] or None.
Character = io.Custom("CRAFTERS_CHARACTER")
# LHM (models.avatar.lhm.system): the networks that make a Character an Avatar.
LHMModel = io.Custom("CRAFTERS_LHM")

# Bodies: BodyModel (models.body.body), SMPL-X or Anny: template [V, 3] m and what bends it.
BodyModel = io.Custom("CRAFTERS_BODY_MODEL")
# BodyMotion (models.body.motion): pose [F, 55, 3] rad, trans [F, 3] m, and the camera.
BodyMotion = io.Custom("CRAFTERS_BODY_MOTION")
# (Loaded, Mano): HaMeR's network, and the hand (models.hmr.mano) that it moves.
HaMeRModel = io.Custom("CRAFTERS_HAMER")
# Loaded of Multi-HMR's network (models.hmr.multihmr).
MultiHMRModel = io.Custom("CRAFTERS_MULTIHMR")

# Background: Loaded of ProPainter (models.propainter.system), its three networks.
Painter = io.Custom("CRAFTERS_PROPAINTER")

# AniCrafter: Scene (models.anicrafter.conditions): blend and mesh [T, H, W, 3], free [T, H, W], T = 4n + 1.
Scene = io.Custom("CRAFTERS_SCENE")
# AniCrafter (models.anicrafter.checkpoint): both embedders, and the LoRA as pairs [r, in] and [out, r].
AniCrafterWeights = io.Custom("CRAFTERS_ANICRAFTER")
# Loaded of diffusers' Wan transformer, with the LoRA merged in.
WanModel = io.Custom("CRAFTERS_WAN")
