"""What holds for all tests."""

from hypothesis import settings

# A slow or busy machine is no fault of what is tested.
settings.register_profile("netarium", deadline=None, print_blob=True)
settings.load_profile("netarium")
