"""Frames of video files, streams and cameras, through OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from instseg_rt.errors import IoError

VIDEO_SUFFIXES = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})


def video_frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video file in order, each (H, W, 3) uint8 BGR; `IoError` when it is not a video."""
    if not path.is_file():
        raise IoError(f"{path}: no such file")
    frames = _frames(cv2.VideoCapture(str(path)), f"{path}: not a video that OpenCV can decode")
    first = next(frames, None)
    if first is None:
        raise IoError(f"{path}: no frame of the video could be decoded")
    yield first
    yield from frames


def camera_frames(index: int) -> Iterator[np.ndarray]:
    """The frames of the camera with this index until it stops, each (H, W, 3) uint8 BGR."""
    return _frames(cv2.VideoCapture(index), f"camera {index}: cannot be opened: is it connected and free?")


def stream_frames(url: str) -> Iterator[np.ndarray]:
    """The frames of an RTSP stream until it ends, each (H, W, 3) uint8 BGR."""
    return _frames(cv2.VideoCapture(url, cv2.CAP_FFMPEG), f"{url}: the stream cannot be opened")


def _frames(capture: cv2.VideoCapture, failure: str) -> Iterator[np.ndarray]:
    try:
        if not capture.isOpened():
            raise IoError(failure)
        while True:
            decoded, frame = capture.read()
            if not decoded:
                return
            yield frame
    finally:
        capture.release()
