"""What takes long is started early."""


def pytest_configure(config):
    config.addinivalue_line("markers", "takes(seconds): on an idle machine")
