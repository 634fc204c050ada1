"""Memory that a U-Net takes for one image, computed from its shape before it is built."""

from flowviz.networks.unet import UNetShape

MAX_ACTIVATION_BYTES = 2 * 2**30
"""Of one evaluation without gradients. A larger batch is split, and a network that exceeds it for
one image is refused."""

FLOAT_BYTES = 4


def check_memory(shape: UNetShape, channels: int, size: int) -> None:
    """Refuses a network that takes more than MAX_ACTIVATION_BYTES for one image.

    Raises:
        ValueError: it does.
    """
    needed = activation_bytes(shape, channels, size)
    if needed > MAX_ACTIVATION_BYTES:
        raise ValueError(
            f"an image of {size} x {size} takes {needed / 2**30:.1f} GB of memory in this "
            f"network, more than {MAX_ACTIVATION_BYTES / 2**30:g} GB"
        )


def max_batch(shape: UNetShape, channels: int, size: int) -> int:
    """The number of images that are evaluated together within MAX_ACTIVATION_BYTES, at least 1."""
    return max(1, MAX_ACTIVATION_BYTES // activation_bytes(shape, channels, size))


def activation_bytes(shape: UNetShape, channels: int, size: int) -> int:
    """The greatest memory of intermediate results for one image in float32, in bytes.

    This is an estimate from above for an evaluation without gradients: all results of the way
    down, which the way up needs, and the largest block, of which a residual block holds up to five
    feature maps at a time and an attention nine and the scores of one head.
    """
    side = size // shape.patch
    current = shape.model_channels * shape.channel_mult[0]
    skips = [current * side**2]
    stored, peak = skips[0], (channels * shape.patch**2 + current) * side**2

    def block(inputs: int, outputs: int, attends: bool) -> int:
        largest = inputs + max(3 * inputs, inputs + outputs, 4 * outputs)
        tokens = side**2
        attention = 9 * outputs * tokens + tokens**2
        return max(largest * tokens, attention * attends)

    for level, factor in enumerate(shape.channel_mult):
        for _ in range(shape.num_res_blocks):
            outputs = shape.model_channels * factor
            peak = max(peak, stored + block(current, outputs, side in shape.attention_resolutions))
            current = outputs
            skips.append(current * side**2)
            stored += skips[-1]
        if level < len(shape.channel_mult) - 1:
            if shape.resblock_updown:
                peak = max(peak, stored + block(current, current, False))
            side //= 2
            skips.append(current * side**2)
            stored += skips[-1]
    peak = max(peak, stored + block(current, current, True))
    for level, factor in reversed(list(enumerate(shape.channel_mult))):
        for i in range(shape.num_res_blocks + 1):
            outputs, joined = shape.model_channels * factor, current + skips[-1] // side**2
            needed = current * side**2 + block(
                joined, outputs, side in shape.attention_resolutions
            )
            peak, current = max(peak, stored + needed), outputs
            stored -= skips.pop()
            if level and i == shape.num_res_blocks:
                side *= 2
                needed = (
                    block(current, current, False)
                    if shape.resblock_updown
                    else 2 * current * side**2
                )
                peak = max(peak, stored + needed)
    return FLOAT_BYTES * max(peak, stored + 4 * current * side**2)
