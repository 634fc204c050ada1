"""What several rooms of tests share."""

import os

import pytest
import torch
from playwright.sync_api import sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


torch.set_num_threads(1)  # the workers share the cores; threads of two would wait on each other


@pytest.fixture(scope="session")
def chromium():
    """One browser for the whole run: Playwright's sync API cannot be started twice."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader"],
        )
        yield browser
        browser.close()
