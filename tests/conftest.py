from hypothesis import settings

settings.register_profile("skbag", deadline=None, print_blob=True, max_examples=100)  # a first call compiles
settings.load_profile("skbag")
