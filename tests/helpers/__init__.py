"""What several tests need.

`plain_*` restate what the pack does, slowly and to be read. `small_*` and `*_file(s)` are files of networks and bodies
in their released layouts. `made_up` and `product_photo` draw what is seen. `comfy_harness`, `browser` and `executor`
run ComfyUI.
"""
