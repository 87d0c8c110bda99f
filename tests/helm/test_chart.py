"""The chart: what it makes of every feature's values, and what it refuses."""

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from service.config import Config
from tests.helm import reference
from tests.helm.rendering import (
    CASES,
    FOLDER,
    FULLNAME,
    LEAST,
    RefusedValues,
    Values,
    case,
    containers,
    environment,
    helm4,
    notes,
    objects,
    only,
    pods,
    render3,
    render4,
    run,
)
from tests.tools import need

KUBERNETES = ["1.25", "1.29", "1.33", "1.37"]
FOREIGN = {"HTTPRoute", "ServiceMonitor", "PrometheusRule"}
"""Kinds that Kubernetes does not bring."""
LATER: tuple[str, ...] = ()
"""What the chart can set before this version reads it."""
NEVER = {"DATA_DIR"}
"""What a pod needs no value for: it has a store and all secrets from outside."""


def changed(**values: Any) -> Values:
    return {**LEAST, **values}


@pytest.mark.parametrize("name", CASES)
def test_two_helms_make_the_same_of_every_features_values(name: str) -> None:
    assert render4(case(name)) == objects(name)


@pytest.mark.parametrize("name", CASES)
def test_lint_finds_nothing(name: str) -> None:
    assert "0 chart(s) failed" in run("lint", "--strict", values=case(name))
    report = helm4().lint(reference.CHART, case(name), strict=True)
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", CASES)
def test_every_object_is_one_of_kubernetes(name: str, version: str) -> None:
    """A kind without a schema raises: nothing passes unread."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for each in objects(name):
        if each["kind"] not in FOREIGN:
            assert kubernetes_validate.validate(each, version, strict=True) == version


def test_foreign_kinds_are_what_their_makers_say() -> None:
    need(str(FOLDER / "node_modules" / ".bin" / "helm"))
    foreign = [each for name in CASES for each in objects(name) if each["kind"] in FOREIGN]
    assert {each["kind"] for each in foreign} == FOREIGN
    command = [need("node"), str(FOLDER / "kinds.mjs")]
    done = subprocess.run(command, input=json.dumps(foreign), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", CASES)
def test_every_pod_is_restricted(name: str) -> None:
    """PodSecurity's profile `restricted`, and more: no writable root, no token, no Service's variables."""
    for pod in pods(objects(name)):
        spec, security = pod["spec"], pod["spec"]["securityContext"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all({"emptyDir", "configMap", "secret"} & volume.keys() for volume in spec["volumes"])
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "cpu" not in container["resources"]["limits"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            claimed = {"data"} & mounted
            assert mounted - claimed <= {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("name", CASES)
def test_selectors_find_the_pods_they_mean_and_ports_exist(name: str) -> None:
    """A test's pod, or the store's, never becomes an endpoint of the service."""
    made = objects(name)
    everybody = [(pod["metadata"]["labels"], pod) for pod in pods(made)]
    for service in [each for each in made if each["kind"] == "Service"]:
        selector = service["spec"]["selector"]
        chosen = [pod for labels, pod in everybody if selector.items() <= labels.items()]
        assert len(chosen) == 1, service["metadata"]["name"]
        ports = {port["name"] for container in containers(chosen[0]) for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for each in made:
        if each["kind"] in ("Deployment", "StatefulSet"):
            labels = each["spec"]["template"]["metadata"]["labels"]
            assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()
        if each["kind"] == "PodDisruptionBudget":
            selector = each["spec"]["selector"]["matchLabels"]
            assert len([1 for labels, _ in everybody if selector.items() <= labels.items()]) == 1


def test_the_monitor_finds_the_services_of_figures_and_no_other() -> None:
    made = objects("split")
    monitor = only("ServiceMonitor", made)
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    found = [each for each in made if each["kind"] == "Service" and wanted <= each["metadata"]["labels"].items()]
    assert [each["metadata"]["name"] for each in found] == [f"{FULLNAME}-web-metrics", f"{FULLNAME}-worker-metrics"]
    for each in found:
        assert each["spec"]["ports"][0]["name"] == monitor["spec"]["endpoints"][0]["port"]


def test_the_chart_sets_every_variable_of_the_service_and_no_other() -> None:
    """TZ is the one that the values of this feature add."""
    pod = only("Deployment", objects("everything"))["spec"]["template"]
    names = set(environment(containers(pod)[0]))
    known = set(Config.variables())
    assert known - NEVER - names == set()
    assert {name for name in names - known - {"TZ"} if not name.startswith(LATER)} == set()


@pytest.mark.parametrize("name", CASES)
def test_every_secret_a_pod_reads_is_named_in_the_notes(name: str) -> None:
    said = notes(case(name))
    for pod in pods(objects(name)):
        for container in containers(pod):
            for variable in environment(container).values():
                if ref := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert re.search(rf"^  {ref['name']}: .*\b{re.escape(ref['key'])}\b", said, re.MULTILINE), ref


def test_the_notes_say_what_to_enter_where() -> None:
    said = notes(case("everything"))
    for address in ("webhooks/vello", "connect/zoom/callback", "webhooks/zoom", "connect/google_meet/callback"):
        assert f"https://meetings.example.com/{address}" in said
    assert "get secret vello -o jsonpath='{.data.webhook-token}'" in said


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (changed(publicUrl="http://meetings.example.com"), "publicUrl is not https"),
        (LEAST, "one Valkey without a replica"),
        (changed(replicas=1), "one pod only"),
        (LEAST, "networkPolicy.enabled is false"),
    ],
)
def test_the_notes_warn_of_what_is_unsafe(values: Values, warning: str) -> None:
    assert re.search(rf"^WARNING: .*{warning}", notes(values), re.MULTILINE)
    safe = {**case("single"), "replicas": 2, "networkPolicy": {"enabled": True}}
    assert "WARNING" not in notes(safe)


def test_one_secret_and_the_releases_own_store_make_a_working_service() -> None:
    made = render3(LEAST)
    service, store = (
        only(kind, made)["spec"]["template"]["spec"]["containers"][0] for kind in ("Deployment", "StatefulSet")
    )
    url = environment(service)["REDIS_URL"]["value"]
    host = only("Service", made, f"{FULLNAME}-valkey")["metadata"]["name"]
    assert url == f"redis://:$(VALKEY_PASSWORD)@{host}:6379/0"
    names = list(environment(service))
    assert names.index("VALKEY_PASSWORD") < names.index("REDIS_URL")  # else it is not filled in
    password = environment(service)["VALKEY_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert password == environment(store)["VALKEY_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert password["name"] == "vello"
    config = only("ConfigMap", made)["data"]["valkey.conf"]
    assert "appendonly yes" in config
    assert "maxmemory-policy noeviction" in config
    assert not [each for each in made if each["kind"] == "Secret"]


def test_a_rolling_upgrade_keeps_every_pod_until_its_successor_is_ready() -> None:
    deployment = only("Deployment", render3(LEAST))["spec"]
    pod = deployment["template"]["spec"]
    container = pod["containers"][0]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert container["lifecycle"]["preStop"]["exec"]["command"][-1].endswith(".sleep" + "(5)")
    assert pod["terminationGracePeriodSeconds"] >= 5 + 30
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/livez"


def test_web_and_worker_may_be_apart() -> None:
    made = objects("split")
    web, worker = (only("Deployment", made, name) for name in (FULLNAME, f"{FULLNAME}-worker"))
    assert containers(web["spec"]["template"])[0]["args"][-1] == "web"
    assert containers(worker["spec"]["template"])[0]["args"][-1] == "worker"
    assert worker["spec"]["replicas"] == 3
    assert containers(only("Deployment", render3(LEAST))["spec"]["template"])[0]["args"][-1] == "all"


def test_whoever_scales_sets_the_replicas_alone() -> None:
    made = objects("autoscaling")
    assert "replicas" not in only("Deployment", made)["spec"]
    assert only("HorizontalPodAutoscaler", made)["spec"]["scaleTargetRef"]["name"] == FULLNAME


def test_a_single_pod_holds_up_no_drain() -> None:
    assert not [each for each in objects("single") if each["kind"] == "PodDisruptionBudget"]
    assert only("PodDisruptionBudget", render3(LEAST))["spec"]["maxUnavailable"] == 1


def test_only_public_paths_are_exposed_unless_all_are_asked_for() -> None:
    rule = only("Ingress", objects("ingress"))["spec"]["rules"][0]
    assert rule["host"] == "meetings.example.com"
    paths = [path["path"] for path in rule["http"]["paths"]]
    assert {"/webhooks", "/m", "/h", "/connect", "/login"} < set(paths)
    assert "/" not in paths
    route = only("HTTPRoute", objects("httproute"))["spec"]
    assert route["hostnames"] == ["meetings.example.com"]
    assert [match["path"]["value"] for match in route["rules"][0]["matches"]] == ["/"]


def test_the_network_lets_through_what_is_named_and_nothing_else() -> None:
    made = objects("network-policy")
    policy = only("NetworkPolicy", made, FULLNAME)["spec"]
    peers = policy["ingress"][0]["from"]
    figures = policy["ingress"][1]
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": "http"}], [{"port": "metrics"}]]
    named = [
        each["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for each in (peers[0], *figures["from"])
    ]
    assert named == ["ingress", "monitoring"]
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["egress"]]
    assert ports == [[53, 53], [443], [587], [8443], [6379]]
    mail, program = policy["egress"][2]["to"], policy["egress"][3]["to"]
    assert mail[0]["ipBlock"]["cidr"] == "10.1.2.3/32"
    assert program == policy["egress"][1]["to"]
    assert "10.0.0.0/8" in policy["egress"][1]["to"][0]["ipBlock"]["except"]
    store = only("NetworkPolicy", made, f"{FULLNAME}-valkey")["spec"]
    assert store["egress"] == []
    asked = policy["egress"][4]["to"][0]["podSelector"]["matchLabels"]
    assert asked == store["podSelector"]["matchLabels"]
    service = only("Deployment", made)["spec"]["template"]["metadata"]["labels"].items()
    assert [peer for peer in store["ingress"][0]["from"] if peer["podSelector"]["matchLabels"].items() <= service]


@pytest.mark.parametrize(
    ("given", "port", "tls"),
    [
        ({}, "587", "starttls"),
        ({"tls": "implicit"}, "465", "implicit"),
        ({"tls": "none"}, "25", "none"),
        ({"port": 465}, "465", "implicit"),
        ({"port": 2525, "tls": "none"}, "2525", "none"),
    ],
)
def test_the_mail_servers_port_and_encryption_go_together(given: dict[str, Any], port: str, tls: str) -> None:
    smtp = {"host": "mail.example.org", "from": "rooms@example.org", **given}
    made = render3(changed(notices={"emails": "it@example.org", "smtp": smtp}, networkPolicy={"enabled": True}))
    sent = environment(containers(only("Deployment", made)["spec"]["template"])[0])
    assert (sent["SMTP_PORT"]["value"], sent["SMTP_TLS"]["value"]) == (port, tls)
    egress = only("NetworkPolicy", made, FULLNAME)["spec"]["egress"]
    assert int(port) in [each["port"] for rule in egress for each in rule.get("ports", ())]


def test_zooms_events_need_no_app_for_browsers() -> None:
    made = render3(changed(zoom={"existingSecret": "zoom"}))
    sent = environment(containers(only("Deployment", made)["spec"]["template"])[0])
    assert all(sent[f"ZOOM_{name}"]["valueFrom"]["secretKeyRef"]["optional"] for name in ("CLIENT_ID", "CLIENT_SECRET"))


def test_the_image_is_the_charts_version_a_tag_or_a_digest() -> None:
    chart = yaml.safe_load((reference.CHART / "Chart.yaml").read_text())

    def image(values: Values) -> str:
        return str(containers(only("Deployment", render3(values))["spec"]["template"])[0]["image"])

    assert image(LEAST) == f"vello-meetings:{chart['appVersion']}"
    assert image(changed(image={"repository": "example/rooms", "tag": "9"})) == "example/rooms:9"
    assert image(case("everything")) == "vello-meetings@" + case("everything")["image"]["digest"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "publicUrl is not set"),
        ({"publicUrl": "https://a.example.com"}, "auth.existingSecret is not set"),
        (changed(valkey={"enabled": False}), "name exactly one store"),
        (changed(redis={"existingSecret": "store"}), "name exactly one store"),
        (changed(notices={"smtp": {"host": "mail.example.org"}}), "give notices.smtp.from and notices.emails"),
        (changed(notices={"emails": "it@example.org"}), "give notices.smtp.host and notices.smtp.from"),
        (changed(valkey={}, redis={"url": "redis://:word@store:6379"}), "redis.url holds a password"),
        (changed(publicUrl="https://a.example.com/rooms", ingress={"enabled": True}), "publicUrl has a path"),
        (changed(httpRoute={"enabled": True}), "httpRoute.parentRefs is empty"),
        (changed(metrics={"serviceMonitor": {"enabled": True}}), "needs metrics.enabled"),
        (changed(terminationGracePeriodSeconds=20), "terminationGracePeriodSeconds is too short"),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence(values: Values, sentence: str) -> None:
    for render in (render3, render4):
        with pytest.raises(RefusedValues, match=re.escape(sentence)):
            render(values)


@pytest.mark.parametrize(
    "values",
    [
        changed(publicURL="https://a.example.com"),
        changed(publicUrl="meetings.example.com"),
        changed(replicas="two"),
        changed(replicas=0),
        changed(logLevel="loud"),
        changed(answerDeadline=90),
        changed(zoom={"clientSecret": "in clear"}),
        changed(valkey={"enabled": True, "password": "in clear"}),
        changed(image={"digest": "latest"}),
        changed(redis={"url": "http://store"}),
        changed(expose="some"),
        changed(notices={"language": "de"}),
        changed(notices={"smtp": {"password": "in clear"}}),
        changed(extraEnv=[{"name": "A", "value": "b"}]),
        changed(extraEnv={"A": 1}),
    ],
    ids=lambda values: json.dumps({name: each for name, each in values.items() if LEAST.get(name) != each}),
)
def test_values_that_do_not_exist_or_do_not_fit_are_refused(values: Values) -> None:
    for render in (render3, render4):
        with pytest.raises(RefusedValues, match="schema"):
            render(values)


def test_the_readme_and_the_schema_are_those_of_the_values() -> None:
    """`.venv/bin/python -m tests.helm.reference` writes them anew."""
    assert (reference.CHART / "README.md").read_text() == reference.readme()
    assert (reference.CHART / "values.schema.json").read_text() == reference.schema()


def test_every_value_is_described_and_used() -> None:
    assert set(reference.leaves(reference.values())) == set(reference.described())
    templates = "\n".join(path.read_text() for path in (reference.CHART / "templates").rglob("*.*"))
    for path in reference.leaves(reference.values()):
        assert re.search(rf"\b{path.rpartition('.')[2]}\b", templates), path


def test_no_password_is_made_up_and_no_host_of_images_is_named() -> None:
    for path, value in reference.leaves(reference.values()).items():
        if re.search(r"password|secret|token", path, re.IGNORECASE) and isinstance(value, str):
            assert value == "" or path.endswith("Key"), path
    assert reference.values()["image"]["repository"] == "vello-meetings"
    assert reference.values()["valkey"]["image"]["repository"] == "valkey/valkey"


def test_the_versions_of_chart_and_package_agree() -> None:
    chart = yaml.safe_load((reference.CHART / "Chart.yaml").read_text())
    project = (reference.CHART.parents[1] / "pyproject.toml").read_text()
    assert f'\nversion = "{chart["appVersion"]}"\n' in project
