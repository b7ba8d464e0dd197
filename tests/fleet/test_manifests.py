# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Kubernetes manifests and the container file of examples/fleet, checked without a cluster and without a network.

Kubernetes' own kinds and all pod templates are checked by Kubernetes' schemas (the package kubernetes-validate),
KubeRay's kinds and the PodMonitor by kuberay.json, both strictly: a key that they do not know is an error. Where
PALME_KUBERAY_CRDS names a folder with KubeRay's ray.io_rayclusters.yaml and ray.io_rayjobs.yaml, their schemas are
asked as well.
"""

import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dockerfile_parse
import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FLEET = ROOT / "examples" / "fleet"
CONTAINERFILE = FLEET / "Containerfile"
KUBERNETES = "1.33"
SCHEMA = json.loads((Path(__file__).parent / "kuberay.json").read_text())
FILES = sorted((FLEET / "kubernetes").glob("*.yaml"))


def documents(path: Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text()))


ALL = [(path.name, document) for path in FILES for document in documents(path)]


def pods(document: dict) -> list[tuple[str, dict]]:
    """The pod templates in a RayCluster or a RayJob, each as (name, template)."""
    spec = document["spec"].get("rayClusterSpec", document["spec"])
    groups = [("head", spec["headGroupSpec"])] + [(g["groupName"], g) for g in spec["workerGroupSpecs"]]
    return [(name, group["template"]) for name, group in groups]


def check_kubernetes(document: dict) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def check(document: dict) -> None:
    """Raises what the schemas say is wrong."""
    if document["kind"] not in SCHEMA["$defs"]:
        check_kubernetes(document)
        return
    jsonschema.Draft202012Validator(SCHEMA | {"$ref": f"#/$defs/{document['kind']}"}).validate(document)
    if document["kind"].startswith("Ray"):
        for name, template in pods(document):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **template.get("metadata", {})}}
            check_kubernetes(pod | {"spec": template["spec"]})


WRONG = (jsonschema.ValidationError, kubernetes_validate.ValidationError)


@pytest.mark.parametrize("name, document", ALL, ids=[f"{name}:{document['kind']}" for name, document in ALL])
def test_schemas(name, document):
    check(document)


def first(kind: str) -> dict:
    return copy.deepcopy(next(document for _, document in ALL if document["kind"] == kind))


@pytest.mark.parametrize(
    "kind, path, value",
    [
        ("RayCluster", ["spec", "headGroupSpec", "rayStartParam"], {}),
        ("RayCluster", ["spec", "headGroupSpec", "rayStartParams", "num-cpus"], 0),
        ("RayCluster", ["spec", "workerGroupSpecs", 0, "replicas"], "6"),
        ("RayCluster", ["spec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "port"], []),
        ("RayCluster", ["spec", "headGroupSpec", "template", "spec", "volumes", 0, "emptyDir", "size"], "1Gi"),
        ("RayJob", ["spec", "entrypoint"], ""),
        ("RayJob", ["spec", "submissionMode"], "Job"),
        ("PodMonitor", ["spec", "podMetricsEndpoints", 0, "interval"], "15"),
        ("StatefulSet", ["spec", "replica"], 1),
        ("NetworkPolicy", ["spec", "ingress", 0, "port"], []),
        ("PersistentVolumeClaim", ["spec", "accessModes"], "ReadWriteOnce"),
    ],
)
def test_the_schemas_see_mistakes(kind, path, value):
    document = first(kind)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(WRONG):
        check(document)


def strict(schema: dict) -> dict:
    """A schema of a CRD that refuses keys it does not name, as kubectl does, and knows Kubernetes' int-or-string."""
    schema = dict(schema)
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("type", None)
        schema.pop("anyOf", None)
        return {"type": ["integer", "string"]}
    if "properties" in schema:
        schema["properties"] = {key: strict(value) for key, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = strict(schema[key])
    return schema


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_kuberays_own_schema(kind):
    folder = os.environ.get("PALME_KUBERAY_CRDS")
    if not folder:
        pytest.skip("PALME_KUBERAY_CRDS does not name a folder with KubeRay's CRDs")
    crd = yaml.safe_load((Path(folder) / f"ray.io_{kind.lower()}s.yaml").read_text())
    version = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    validator = jsonschema.Draft202012Validator(schema)
    document = first(kind)
    validator.validate(document)
    document["spec"]["unknown"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)


# ---- What no schema says: that the parts agree ------------------------------------------------------------------


def pinned(package: str) -> str:
    found = re.search(rf"^{re.escape(package)}==(\S+)$", (FLEET / "requirements.txt").read_text(), re.MULTILINE)
    return found[1]


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_ray_pods_agree_with_the_image_and_with_ray(kind):
    document = first(kind)
    spec = document["spec"].get("rayClusterSpec", document["spec"])
    assert spec["rayVersion"] == pinned("ray[default]")
    for group in spec["workerGroupSpecs"]:
        worker = group["template"]["spec"]["containers"][0]
        assert group["rayStartParams"]["num-cpus"] == worker["resources"]["limits"]["cpu"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    user = re.search(r"^USER (\d+):(\d+)$", CONTAINERFILE.read_text(), re.MULTILINE)
    for group, (_, template) in zip([spec["headGroupSpec"], *spec["workerGroupSpecs"]], pods(document), strict=True):
        pod = template["spec"]
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (
            int(user[1]),
            int(user[2]),
        )
        metrics = {p["name"]: p["containerPort"] for p in pod["containers"][0]["ports"]}["metrics"]
        assert str(metrics) == group["rayStartParams"]["metrics-export-port"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
            assert container["resources"]["limits"]["memory"]
        # Ray's object store is in shared memory; where it does not fit, Ray takes the disk.
        shm = volumes["shm"]["emptyDir"]["sizeLimit"]
        unit = {"Mi": 2**20, "Gi": 2**30}[shm[-2:]]
        assert int(group["rayStartParams"]["object-store-memory"]) < int(shm[:-2]) * unit


def test_what_is_named_exists():
    """ConfigMaps, claims and services that one object names are in the same file, and policies select Ray's pods."""
    for path in FILES:
        found = documents(path)
        names = {
            kind: {d["metadata"]["name"] for d in found if d["kind"] == kind} for kind in {d["kind"] for d in found}
        }
        text = path.read_text()
        for kind, pattern in (
            ("PersistentVolumeClaim", r"claimName: ([\w-]+)"), ("ConfigMap", r"configMap: \{name: ([\w-]+)\}"),
            ("Service", r"(?:serviceName|mqtt:\n +host): ([\w-]+)"),
        ):  # fmt: skip
            assert set(re.findall(pattern, text)) <= names.get(kind, set()), (path.name, kind)
        for document in found:
            if document["kind"] == "NetworkPolicy":
                wanted = document["spec"]["podSelector"]["matchLabels"].items()
                ray = next(d for d in found if d["kind"].startswith("Ray"))
                assert all(wanted <= template["metadata"]["labels"].items() for _, template in pods(ray))


def test_the_cameras_of_the_config_map():
    """cameras.py accepts the file, and its actors fit onto the workers."""
    config = next(d for _, d in ALL if d["metadata"]["name"] == "palme-cameras" and d["kind"] == "ConfigMap")
    text = config["data"]["cameras.yaml"]
    cluster = first("RayCluster")["spec"]
    cores = sum(g["replicas"] * int(g["rayStartParams"]["num-cpus"]) for g in cluster["workerGroupSpecs"])
    actors = yaml.safe_load(text)["actors"]
    assert actors["count"] * actors["cpus"] <= cores
    program = FLEET / "cameras.py"
    if not program.is_file():
        pytest.skip("cameras.py is not here")
    sys.path.insert(0, str(FLEET))
    from live import config as camera_file

    assert len(camera_file.parse(text).cameras) == 2


def words_of(kind: str) -> list[str]:
    """The command that Kubernetes starts of this project's programs."""
    if kind == "RayJob":
        return first(kind)["spec"]["entrypoint"].split()
    return first(kind)["spec"]["headGroupSpec"]["template"]["spec"]["containers"][1]["command"]


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_commands_have_options_that_exist(kind):
    words = words_of(kind)
    program = FLEET / Path(words[1]).name
    if not program.is_file():
        pytest.skip(f"{program.name} is not here")
    assert Path(words[1]).parent == Path("/opt/palme/fleet")
    said = subprocess.run(
        [sys.executable, str(program), "--help"], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    for word in words[2:]:
        assert not word.startswith("--") or re.search(re.escape(word) + r"(?![\w-])", said), word


# ---- The container file ----------------------------------------------------------------------------------------


def hadolint(text: str) -> list[dict]:
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [str(program), "--no-color", "--format", "json", "--no-fail", "-"], input=text, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_linter_has_nothing_to_say():
    assert hadolint(CONTAINERFILE.read_text()) == []
    # And it would have:
    assert hadolint("FROM debian\nRUN cd /tmp && apt-get install git\n") != []


def instructions() -> list[dict]:
    parser = dockerfile_parse.DockerfileParser(fileobj=io.BytesIO(CONTAINERFILE.read_bytes()))
    return parser.structure


def test_the_image_is_built_of_what_is_here():
    stages = [i["value"] for i in instructions() if i["instruction"] == "FROM"]
    assert len(stages) == 2
    for stage in stages:
        assert re.match(r"debian:\d+\.\d+-slim\b", stage), f"{stage}: a version is to be stated"
    for instruction in instructions():
        if instruction["instruction"] == "COPY" and not instruction["value"].startswith("--from"):
            for source in instruction["value"].split()[:-1]:
                assert (ROOT / source).exists(), source
        assert instruction["instruction"] != "ADD"


def test_the_image_does_not_run_as_root():
    last = [i["instruction"] for i in instructions()]
    users = [i["value"] for i in instructions() if i["instruction"] == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), "Kubernetes' runAsNonRoot wants numbers"
    assert last.index("USER") > max(n for n, name in enumerate(last) if name in ("RUN", "COPY"))


def test_the_steps_are_shell():
    for instruction in instructions():
        if instruction["instruction"] == "RUN":
            subprocess.run(["sh", "-n", "-c", instruction["value"]], check=True, timeout=10)


def first_stage() -> list[list[str]]:
    """The words of what it copies: names, and where to."""
    stages = [n for n, i in enumerate(instructions()) if i["instruction"] == "FROM"]
    return [i["value"].split() for i in instructions()[: stages[1]] if i["instruction"] == "COPY"]


def test_the_first_stage_has_all_that_the_build_reads(tmp_path):
    """meson, asked as setup.sh asks it, ends where a meson.build names a file that nobody copied."""
    source = tmp_path / "src"
    for *names, to in first_stage():
        for name in names:
            target = source / to / Path(name).name if to.endswith("/") else source / to
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target)
            else:
                shutil.copy(ROOT / name, target)
    script = (FLEET / "setup.sh").read_text().replace("\\\n", " ")
    options = re.search(r'meson setup "\$engine" --prefix="\$venv" (.*)', script)[1].split()
    done = subprocess.run(
        ["meson", "setup", source / "build", f"--prefix={tmp_path}", *options],
        cwd=source, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
