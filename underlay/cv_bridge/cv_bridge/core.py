"""The class that users know: `CvBridge`.

Names, signatures, results and messages are those of the upstream package (Jazzy, Kilted), its
compiled part included. It does better where upstream misreads data or stops: rows may be padded by
any number of bytes, and big-endian images are read under NumPy 2 as well.
"""

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
import sensor_msgs.msg

from .conversion import cvtColor2
from .encodings import NUMPY_OF_DEPTH, CV_MAT_CNWrap, CV_MAT_DEPTHWrap, getCvType


class CvBridgeError(TypeError):
    """What the methods of `CvBridge` raise for an encoding or a conversion that there is not."""


class CvBridge:
    """Converts between ROS image messages and OpenCV images (NumPy arrays).

    An image of one channel is an (H, W) array, one of C channels (H, W, C). Encodings are the
    colours of ``sensor_msgs/image_encodings.hpp`` or OpenCV's type names.
    """

    def __init__(self) -> None:
        self.cvtype_to_name = {getCvType(f"{depth}C{channels}"): f"{depth}C{channels}"
                               for depth in NUMPY_OF_DEPTH for channels in range(1, 5)}
        self.cvdepth_to_numpy_depth = {getattr(cv2, f"CV_{depth}"): name
                                       for depth, name in NUMPY_OF_DEPTH.items()}
        self.numpy_type_to_cvtype = {name: depth for depth, name in NUMPY_OF_DEPTH.items()}
        self.numpy_type_to_cvtype.update(NUMPY_OF_DEPTH)  # the way back as well, as upstream

    def dtype_with_channels_to_cvtype2(self, dtype: np.dtype, n_channels: int) -> str:
        """Return the type's name, such as ``16UC3``; KeyError where OpenCV has no such depth."""
        return f"{self.numpy_type_to_cvtype[dtype.name]}C{n_channels}"

    def cvtype2_to_dtype_with_channels(self, cvtype: int) -> tuple[str, int]:
        """Return NumPy's name of the depth and the channels of a type number."""
        return self.cvdepth_to_numpy_depth[CV_MAT_DEPTHWrap(cvtype)], CV_MAT_CNWrap(cvtype)

    def encoding_to_cvtype2(self, encoding: str) -> int:
        """Return the type number of an encoding, or raise CvBridgeError."""
        try:
            return getCvType(encoding)
        except RuntimeError as error:
            raise CvBridgeError(error) from error

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        """Return NumPy's name of the depth and the channels, or raise CvBridgeError."""
        return self.cvtype2_to_dtype_with_channels(self.encoding_to_cvtype2(encoding))

    def imgmsg_to_cv2(self, img_msg: sensor_msgs.msg.Image,
                      desired_encoding: str = "passthrough") -> np.ndarray:
        """Convert an Image message to an OpenCV image.

        Args:
            img_msg: The message.
            desired_encoding: What to return; ``passthrough`` leaves the encoding as it is.

        Returns:
            The image in native byte order. With ``passthrough`` it shares the memory of the
            message where rows are not padded and bytes not swapped; else it is new.

        Raises:
            CvBridgeError: An unknown encoding, a conversion that there is not, or rows shorter
                than the width.
            TypeError: Fewer bytes than height and step promise.
        """
        image = self._array_of(img_msg)
        if desired_encoding == "passthrough":
            return image
        return _converted(image, img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(self, cvim: np.ndarray, encoding: str = "passthrough",
                      header: object | None = None) -> sensor_msgs.msg.Image:
        """Convert an OpenCV image to an Image message.

        Args:
            cvim: (H, W) or (H, W, C).
            encoding: What the image holds; nothing is converted. ``passthrough`` names OpenCV's
                type, such as ``8UC3``.
            header: For the message.

        Raises:
            CvBridgeError: The encoding is unknown, or stored in another type than the image.
            TypeError: Not an array.
            KeyError: An array whose type OpenCV does not have.
        """
        _require_array(cvim)
        message = sensor_msgs.msg.Image()
        message.height, message.width = cvim.shape[0], cvim.shape[1]
        if header is not None:
            message.header = header
        cv_type = self.dtype_with_channels_to_cvtype2(
            cvim.dtype, cvim.shape[2] if cvim.ndim > 2 else 1)
        if encoding == "passthrough":
            encoding = cv_type
        elif self.cvtype_to_name[self.encoding_to_cvtype2(encoding)] != cv_type:
            raise CvBridgeError(f"encoding specified as {encoding}, but image has incompatible "
                                f"type {cv_type}")
        message.encoding = encoding
        message.is_bigendian = int(cvim.dtype.byteorder == ">")
        data = array.array("B")
        data.frombytes(np.ascontiguousarray(cvim).reshape(-1).view(np.uint8))
        message.data = data
        message.step = len(data) // message.height
        return message

    def compressed_imgmsg_to_cv2(self, cmprs_img_msg: sensor_msgs.msg.CompressedImage,
                                 desired_encoding: str = "passthrough") -> np.ndarray | None:
        """Decode a CompressedImage message.

        Args:
            cmprs_img_msg: The message; its bytes say the format, not its ``format`` field.
            desired_encoding: What to return; ``passthrough`` leaves the image as it is stored:
                BGR, BGRA or grey, of 8 or 16 bits. Any other takes it for bgr8.

        Returns:
            The image; None where the data cannot be decoded and nothing is to be converted.

        Raises:
            CvBridgeError: There is no such conversion.
        """
        data = cmprs_img_msg.data
        image = cv2.imdecode(np.ndarray((1, len(data)), np.uint8, data), cv2.IMREAD_UNCHANGED)
        if desired_encoding == "passthrough":
            return image
        return _converted(image, "bgr8", desired_encoding)

    def cv2_to_compressed_imgmsg(self, cvim: np.ndarray, dst_format: str = "jpg"
                                 ) -> sensor_msgs.msg.CompressedImage:
        """Encode an OpenCV image.

        Args:
            cvim: The image; BGR where it has colours.
            dst_format: One of OpenCV's file extensions: ``jpg``, ``png``, ``bmp``, ``tiff``, ...

        Raises:
            CvBridgeError: OpenCV does not store such an image in that format.
            TypeError: Not an array.
            cv2.error: OpenCV does not know the format.
        """
        _require_array(cvim)
        message = sensor_msgs.msg.CompressedImage()
        message.format = dst_format
        encoded, data = cv2.imencode(f".{dst_format}", cvim)
        if not encoded:
            raise CvBridgeError(f"OpenCV does not store {cvim.dtype} of shape {cvim.shape} "
                                f"as {dst_format}")
        message.data = array.array("B", data.tobytes())
        return message

    def _array_of(self, message: sensor_msgs.msg.Image) -> np.ndarray:
        """The message's pixels in native byte order, rows without padding; a view if possible."""
        name, channels = self.encoding_to_dtype_with_channels(message.encoding)
        stored = np.dtype(name).newbyteorder(">" if message.is_bigendian else "<")
        height, width, step = message.height, message.width, message.step
        pixel = stored.itemsize * channels
        if step < width * pixel:
            raise CvBridgeError(
                "Image is wrongly formed: step < width * byte_depth * num_channels  or  "
                f"{step} != {width} * {stored.itemsize} * {channels}")
        data = bytes(message.data) if isinstance(message.data, list) else message.data
        rows = np.ndarray((height, step), np.uint8, data)  # TypeError where data are short
        shape, strides = (height, width, channels), (step, pixel, stored.itemsize)
        if channels == 1:
            shape, strides = shape[:2], strides[:2]
        image = np.ascontiguousarray(np.ndarray(shape, stored, rows, strides=strides))
        if stored.isnative or sys.byteorder == ("big" if message.is_bigendian else "little"):
            return image
        return image.astype(stored.newbyteorder("="))


def _converted(image: np.ndarray | None, encoding: str, desired_encoding: str) -> np.ndarray | None:
    try:
        return cvtColor2(image, encoding, desired_encoding)
    except RuntimeError as error:
        raise CvBridgeError(error) from error


def _require_array(image: object) -> None:
    if not isinstance(image, (np.ndarray, np.generic)):
        raise TypeError("Your input type is not a numpy array")
