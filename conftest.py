"""What every test needs: a data folder of its own, one thread, and nbval's rough edges filed off."""

pytest_plugins = ["lab"]
