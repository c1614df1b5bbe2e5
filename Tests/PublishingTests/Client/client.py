"""A TUF client by the people who specify TUF: fetches metadata and one release from a repository. Arguments: its address,
the trusted root, a directory of our own, the target's name. Prints the release's path."""
import os
import sys

from tuf.ngclient import Updater

address, root, directory, name = sys.argv[1:]
os.makedirs(os.path.join(directory, "targets"), exist_ok=True)
with open(root, "rb") as file:
    bootstrap = file.read()
updater = Updater(
    metadata_dir=os.path.join(directory, "metadata"),
    metadata_base_url=f"{address}/metadata/",
    target_dir=os.path.join(directory, "targets"),
    target_base_url=f"{address}/targets/",
    bootstrap=bootstrap,
)
updater.refresh()
info = updater.get_targetinfo(name)
assert info is not None, f"{name} is not published"
assert info.unrecognized_fields["custom"]["ballast"]["product"] == "box"
print(updater.download_target(info))
