"""The rasteriser's rules, restated one gaussian at a time: slow, to be read and to be compared with."""

import numpy as np


def plain_rasterize(xyz, rgb, opacity, scale, rotation, camera):
    """Arrays → rgb, alpha, depth as [5, H, W] and contributors [H, W], in the precision of `xyz`."""
    near, margin, low_pass, alpha_max, alpha_min, stop = np.float32([0.2, 1.3, 0.3, 0.99, 1 / 255, 1e-4]).tolist()
    (fx, fy), (cx, cy), (width, height) = camera.focal, camera.principal, camera.size
    columns, rows = -(-width // 16), -(-height // 16)
    picture = np.zeros((5, height, width), xyz.dtype)
    through, ended = np.ones((height, width), xyz.dtype), np.zeros((height, width), bool)
    place, contributors = np.zeros((2, height, width), np.int32)
    for i in np.argsort(xyz[:, 2], kind="stable"):
        x, y, z = xyz[i]
        if z <= near:
            continue
        tx = z * np.clip(x / z, -margin * width / (2 * fx), margin * width / (2 * fx))
        ty = z * np.clip(y / z, -margin * height / (2 * fy), margin * height / (2 * fy))
        jacobian = np.array([[fx / z, 0, -fx * tx / z**2], [0, fy / z, -fy * ty / z**2]])
        axes = jacobian @ matrix(rotation[i]) @ np.diag(scale[i])
        covariance = axes @ axes.T + low_pass * np.eye(2)
        conic = np.linalg.inv(covariance)
        middle = np.trace(covariance) / 2
        radius = np.ceil(3 * np.sqrt(middle + np.sqrt(max(0.1, middle**2 - np.linalg.det(covariance)))))
        px, py = (  # about the picture's middle, divided by a little more than z
            (focal * along + (centre - side / 2) * z) / (z + 1e-7) + (side - 1) / 2
            for focal, along, centre, side in ((fx, x, cx, width), (fy, y, cy, height))
        )
        x0, x1 = (int(np.clip(v / 16, 0, columns)) * 16 for v in (px - radius, px + radius + 15))
        y0, y1 = (int(np.clip(v / 16, 0, rows)) * 16 for v in (py - radius, py + radius + 15))
        area = np.s_[y0:y1, x0:x1]
        dx, dy = px - np.arange(x0, min(x1, width)), (py - np.arange(y0, min(y1, height)))[:, None]
        power = -0.5 * (conic[0, 0] * dx**2 + conic[1, 1] * dy**2) - conic[0, 1] * dx * dy
        alpha = np.minimum(alpha_max, opacity[i, 0] * np.exp(power))
        place[area] += 1
        counts = (alpha >= alpha_min) & ~ended[area]
        last = counts & (through[area] * (1 - alpha) < stop)
        ended[area] |= last
        alpha = np.where(counts & ~last, alpha, 0)
        contributors[area] = np.where(alpha > 0, place[area], contributors[area])
        for channel, value in enumerate((*rgb[i], 1, z)):
            picture[channel][area] += value * alpha * through[area]
        through[area] *= 1 - alpha
    return picture, contributors


def matrix(quaternion):
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
