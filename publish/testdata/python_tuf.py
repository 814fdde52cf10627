"""Updates with python-tuf and prints the versions that it comes to.

python_tuf.py DIR ROOT URL TIME [TARGET]: DIR keeps what was verified, ROOT is a
file with the trust anchor, TIME is what the clock shows.
"""

import datetime
import sys

from tuf.ngclient import Updater

folder, root, url, time, *targets = sys.argv[1:]
with open(root, "rb") as f:
    anchor = f.read()
updater = Updater(folder, url + "/metadata/", folder, url + "/targets/", bootstrap=anchor)
# It has no clock to set but this.
updater._trusted_set.reference_time = datetime.datetime.fromisoformat(time)
updater.refresh()
trusted = updater._trusted_set
print(trusted.root.version, trusted.timestamp.version, trusted.snapshot.version, trusted.targets.version)
for target in targets:
    info = updater.get_targetinfo(target)
    if info is None:
        sys.exit("no role lists " + target)
    updater.download_target(info)
