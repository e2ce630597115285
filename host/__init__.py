"""Where the pack meets its host: model folders, memory, progress. The only room besides `nodes/` that knows ComfyUI.

Inside ComfyUI its modules are already loaded, so they are looked up in `sys.modules`, never imported: the same code
falls back to plain torch where there is no host.
"""
