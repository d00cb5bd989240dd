"""local-path-provisioner: makes volumes for claims, as folders of a node's disk, which its helper pods make.

It has two classes: volumes of `local-path`, the default, stay on the node of their first pod; those of
`local-path-shared` can be written on all nodes (RWX).
"""

import json
from pathlib import Path

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import Process

NAMESPACE = "local-path-storage"
PROVISIONER = "rancher.io/local-path"
FOLDER = "/opt/local-path-provisioner"  # on the disk of each node
SHARED_FOLDER = "/mnt/shared"  # the same on all nodes, see boot.sh
DEFAULT = "storageclass.kubernetes.io/is-default-class"


def local_path_provisioner(control_plane: ControlPlane, lab: Path) -> Process:
    """Return the provisioner of a cluster, to be started once objects() are in it."""
    name = control_plane.addresses.name
    config = {
        "storageClassConfigs": {
            "local-path": {"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [FOLDER]}]},
            "local-path-shared": {"sharedFileSystemPath": SHARED_FOLDER},
            "longhorn": {"sharedFileSystemPath": SHARED_FOLDER},  # where it is played: systems/longhorn
        }
    }
    file = lab / name / "local-path.json"
    file.write_text(json.dumps(config, indent=2))
    return Process(
        f"{name}-local-path-provisioner",
        [
            lab / "bin/local-path-provisioner",
            "start",
            f"--config={file}",
            f"--kubeconfig={control_plane.user('local-path-provisioner')}",
            f"--provisioner-name={PROVISIONER}",
            f"--namespace={NAMESPACE}",
            "--service-account-name=default",
        ],
        lab,
    )


def objects(image: str) -> dict[str, object]:
    """Return what the provisioner needs, as one List: namespace, classes, and what its helper pods run, in image."""
    helper = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helper"},
        "spec": {"containers": [{"name": "helper", "image": image, "imagePullPolicy": "IfNotPresent"}]},
    }
    scripts = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "local-path-config", "namespace": NAMESPACE},
        "data": {
            "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n',
            "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
            "helperPod.yaml": json.dumps(helper),
        },
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    classes = [
        _storage_class("local-path", "WaitForFirstConsumer", {DEFAULT: "true"}),
        _storage_class("local-path-shared", "Immediate", {}),
    ]
    return {"apiVersion": "v1", "kind": "List", "items": [namespace, scripts, *classes]}


def _storage_class(name: str, binding: str, annotations: dict[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": PROVISIONER,
        "volumeBindingMode": binding,
        "reclaimPolicy": "Delete",
    }
