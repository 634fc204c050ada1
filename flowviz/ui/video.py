"""A video of the panels of Compare, made in the background with progress and Cancel."""

from collections.abc import Iterator

import streamlit as st

from flowviz.progress import Progress
from flowviz.studies import Study
from flowviz.studies._flow import CompareConfig, CompareResult
from flowviz.studies._raster import SIZES
from flowviz.studies.export import file_name
from flowviz.studies.video import FORMATS, Video, can_encode, compare_video
from flowviz.ui import work
from flowviz.ui.downloads import Download, buttons
from flowviz.ui.theme import is_dark


def box(study: Study, config: CompareConfig, result: CompareResult) -> None:
    """Draws the folded choices of a video and, once it is made, its download."""
    with st.expander("Video of the panels", icon=":material/movie:"):
        kinds = [suffix for suffix in FORMATS if can_encode(suffix)]
        suffix = st.segmented_control(
            "Format", kinds, format_func=str.upper, default=kinds[0], key="compare-video:suffix"
        )
        sizes = {name: f"{width} × {height}" for name, (width, height) in SIZES.items()}
        size = st.segmented_control(
            "Size", sizes, format_func=sizes.__getitem__, default="720p", key="compare-video:size"
        )
        if len(kinds) < len(FORMATS):
            st.caption("This server has no encoder for MP4 (the extra `video`).")
        video = Video(suffix=suffix or kinds[0], size=size or "720p", dark=is_dark())

        def compute(progress: Progress) -> Iterator[bytes]:
            yield compare_video(study, config, result, video, progress)

        def draw(content: bytes) -> None:
            kind = FORMATS[video.suffix]
            size_text = f"{len(content) / 2**20:.1f} MB, {len(video.times())} frames"
            download = Download(video.suffix.upper(), video.suffix, content, size_text, kind)
            buttons("compare-video", filename=file_name(config, "compare"), files=[download])

        work.show(
            "compare-video",
            ("compare-video", config.computed(), config.mode, video),
            compute,
            draw,
            label="Drawing the video",
            invite=f"{video.seconds:g} s from noise to data, with density, field and particles.",
            button="Make the video",
        )
