"""What tests of several rooms share."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session")
def ray():
    """A real Ray of this machine, two CPUs, started once: that takes seconds."""
    ray = pytest.importorskip("ray", reason="the optional package ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium on a fresh profile, driven through ChromeDriver; its console is logged in full."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium with its ChromeDriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (
        "headless",
        "no-sandbox",  # containers run as root
        "disable-gpu",
        "disable-dev-shm-usage",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "force-prefers-reduced-motion",  # a click must not wait for scrolling to end
        "window-size=1000,900",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield window
    window.quit()
