"""A network as a function of images, and its mattes of what has no labels: pictures, folders of them, and videos."""
