"""How good a generated clip is: the metrics of AnchorCrafter's paper and their networks. Plain torch; no ComfyUI."""

# Known here, so that the command line can name them without torch.
METRICS = (
    *("obj-iou", "obj-iou-clean", "obj-clip", "hand-lmd", "body-lmd", "face-cos"),
    *("fid", "fid-vid", "fvd", "fvd-styleganv", "subject", "background"),
    *("psnr", "psnr-inside", "psnr-outside", "ssim", "ssim-inside", "ssim-outside"),
)
CLEAN = 127  # the grey level above which a mask shows the product for certain
