"""A skipped test is a failure: what was not tried does not hold. Loaded by `-p tests.plugins.no_skips`."""

import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run that skipped anything into a failed one."""
    if _skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why the run failed."""
    if count := _skipped(terminalreporter.config):
        terminalreporter.section("skipped tests fail the run", red=True)
        terminalreporter.line(f"{count} skipped: let the test run, or take it out")


def _skipped(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter else 0
