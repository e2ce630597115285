"""Names that strangers give to files."""

EVIL = (
    "", " ", ".", "..", "/", "//", "\\", "~", "~/x", "~root/x", "../x", "..\\x", "a/../../x", "nofolder/../../../../x",
    "a/..", "./x", "a//x", "/etc/x", "/x", "\\x", "C:/x", "C:x", "C:\\x", "\\\\server\\x", "x\0y", "x\ny", "\x1bx",
    "x:stream", "x|y", "x?", "x*", "<x>", '"x"', "con", "NUL.safetensors", "com1.x", "x.", "x ", " x", "a./x", "a /x",
    "x" * 300, "ä" * 130, "a/" + "x" * 300, "...", "a/.../x", "link/x", "link",
)
