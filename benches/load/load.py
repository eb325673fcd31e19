"""Drives our edge and nginx in turn and tells what each request costs. Called by `run`.

One origin (nginx, 1 KiB), two edges before it, one worker each: nginx with its Lua module, and
ours. The edge that is measured has one core, load and origin share another. Each round runs
every case of both edges for a few seconds, in a new order; figures are medians over the rounds,
ratios are medians of each round's ratio, so that a slow minute of the machine hits both sides.

CPU time per request (user and system, from /proc) is the figure to trust: requests a second
are bounded by the load generator.
"""

import argparse
import http.client
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "benches" / "README.md"
TICKS = os.sysconf("SC_CLK_TCK")

# What is measured: its name, the path at our edge, the path at nginx.
CASES = [
    ("no plugin", "/plain", "/plain"),
    ("header filter in Lua", "/lua", "/lua"),
    ("header filter in proxy-wasm (nginx: in Lua)", "/wasm", "/lua"),
]

# The filter's work, the same in all three languages: see plugins/lua/header-filter and
# plugins/wasm/header-filter. nginx writes a Server header of its own whatever a filter does, so
# there the one that is removed is X-Powered-By; the origin sends both.
NGINX_LUA = """
            access_by_lua_block {
                local headers = ngx.req.get_headers()
                local host = headers["host"] or ""
                local agent = headers["user-agent"] or ""
                local id = headers["x-id"] or ""
                local seen = agent:find("bot", 1, true) and "bot" or "human"
                ngx.req.set_header("x-edge", host .. "/" .. id)
                ngx.req.set_header("x-seen", seen)
            }
            header_filter_by_lua_block {
                ngx.header["x-served-by"] = "forebay"
                ngx.header["x-powered-by"] = nil
            }
"""
SENT = {"Host": "shop.test", "User-Agent": "wrk/4 (a bot)", "X-Id": "42"}


class Failed(Exception):
    """Said to the user as one line."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One process that we started, on a core of its own if there are two."""

    def __init__(self, name, argv, port, folder, core):
        self.name, self.port = name, port
        if core is not None and (os.cpu_count() or 1) > 1:
            argv = ["taskset", "-c", str(core)] + argv
        self.log = open(folder / f"{name}.log", "wb")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    text = (folder / f"{name}.log").read_text(errors="replace")
                    raise Failed(f"{name} does not listen:\n{text}") from None
                time.sleep(0.05)

    def pids(self):
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid] + [int(child) for child in children]

    def cpu(self):
        """Seconds in user and in system mode, of the process and its worker."""
        user = system = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            user += int(fields[11])
            system += int(fields[12])
        return user / TICKS, system / TICKS

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def nginx(name, folder, http_block, port, core):
    prefix = folder / name
    prefix.mkdir()
    modules = "/usr/lib/nginx/modules"
    conf = f"""
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off;
worker_processes 1;
pid {prefix}/pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    lua_package_path "/usr/share/lua/5.1/?.lua;/usr/share/nginx/lualib/?.lua;;";
{http_block}
}}
"""
    (folder / f"{name}.conf").write_text(conf)
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    return Server(name, [program, "-e", "stderr", "-p", str(prefix), "-c", str(folder / f"{name}.conf")], port, folder, core)


def start_origin(folder):
    port = free_port()
    body = "x" * 1023 + "e"
    block = f"""
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        add_header x-powered-by origin;
        default_type text/plain;
        # Only `check` tells what it was sent, so that the measured responses stay small.
        location ~ /check$ {{
            add_header x-powered-by origin;
            add_header x-saw-edge $http_x_edge;
            add_header x-saw-seen $http_x_seen;
            return 200 "{body}";
        }}
        location / {{ return 200 "{body}"; }}
    }}"""
    return nginx("origin", folder, block, port, 1)


def start_nginx(folder, origin):
    port = free_port()
    block = f"""
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 128; keepalive_requests 1000000000; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /plain {{ proxy_pass http://origin; }}
        location /lua {{
{NGINX_LUA}
            proxy_pass http://origin;
        }}
    }}"""
    return nginx("nginx", folder, block, port, 0)


def start_ours(folder, origin):
    port, admin = free_port(), free_port()
    (folder / "region.yaml").write_text(f"""
log: {{format: json, filter: warn, access: false}}
edge:
  name: bench
  workers: 1
  admin: 127.0.0.1:{admin}
  listeners:
    - address: 127.0.0.1:{port}
plugins:
  - name: filter-lua
    lua: {ROOT}/plugins/lua/header-filter
  - name: filter-wasm
    wasm: {ROOT}/plugins/wasm/header-filter
routes:
  - {{name: plain, match: {{path: {{prefix: /plain}}}}, pool: origin}}
  - {{name: lua, match: {{path: {{prefix: /lua}}}}, plugins: [filter-lua], pool: origin}}
  - {{name: wasm, match: {{path: {{prefix: /wasm}}}}, plugins: [filter-wasm], pool: origin}}
pools:
  - name: origin
    origins: ["127.0.0.1:{origin}"]
    idle_connections: 128
""")
    binary = os.environ["FOREBAY_BIN"]
    return Server("forebay", [binary, "run", "-c", str(folder / "region.yaml")], port, folder, 0)


def verify(server, path):
    """The right answer, or no figures at all."""
    def ask(target):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", target, headers=SENT)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    wrong = []
    for target in (path + "/x", path + "/check"):
        answer, body = ask(target)
        if answer.status != 200 or len(body) != 1024:
            wrong.append(f"status {answer.status}, {len(body)} bytes")
    filtered = path != "/plain"
    removed = "server" if server.name == "forebay" else "x-powered-by"
    expected = {
        "x-saw-edge": "shop.test/42" if filtered else None,
        "x-saw-seen": "bot" if filtered else None,
        "x-served-by": "forebay" if filtered else None,
    }
    if (answer.headers.get(removed) is None) != filtered:
        wrong.append(f"{removed} is {answer.headers.get(removed)!r}")
    for name, value in expected.items():
        if answer.headers.get(name) != value:
            wrong.append(f"{name} is {answer.headers.get(name)!r}, must be {value!r}")
    if wrong:
        raise Failed(f"{server.name} answers {path} wrongly, nothing is measured: " + "; ".join(wrong))


def seconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[unit]


def measure(server, path, options):
    """One run of wrk: requests a second, CPU microseconds a request, p50 and p99 in seconds."""
    argv = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "--latency"]
    for name, value in SENT.items():
        argv += ["-H", f"{name}: {value}"]
    argv.append(f"http://127.0.0.1:{server.port}{path}/x")
    if (os.cpu_count() or 1) > 1:
        argv = ["taskset", "-c", "1"] + argv
    before = server.cpu()
    out = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    after = server.cpu()
    if "Non-2xx" in out or "Socket errors" in out:
        raise Failed(f"{server.name} {path}: requests failed, nothing is printed:\n{out}")
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    user, system = after[0] - before[0], after[1] - before[1]
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
        "cpu": (user + system) / requests * 1e6,
        "user": user / requests * 1e6,
        "p50": seconds(re.search(r"^\s+50%\s+(\S+)", out, re.M).group(1)),
        "p99": seconds(re.search(r"^\s+99%\s+(\S+)", out, re.M).group(1)),
    }


def table(runs):
    """`runs[case][side]` is a list of one figure set a round."""
    figures = [
        ("CPU µs a request", "cpu", 1, "{:.1f}"),
        ("of it user", "user", 1, "{:.1f}"),
        ("requests a second", "rate", 1, "{:,.0f}"),
        ("p50 ms", "p50", 1e3, "{:.2f}"),
        ("p99 ms", "p99", 1e3, "{:.2f}"),
    ]
    lines = ["| case | figure | forebay | nginx | ours / nginx |", "| --- | --- | --- | --- | --- |"]
    for case, sides in runs.items():
        for label, key, scale, form in figures:
            ours = [run[key] for run in sides["forebay"]]
            peer = [run[key] for run in sides["nginx"]]
            ratio = statistics.median(o / max(p, 1e-9) for o, p in zip(ours, peer))
            cells = [form.format(statistics.median(side) * scale) for side in (ours, peer)]
            lines.append(f"| {case} | {label} | {cells[0]} | {cells[1]} | {ratio:.2f} |")
    return "\n".join(lines)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown CPU")
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    version = subprocess.run([program, "-v"], capture_output=True, text=True).stderr.strip().split("/")[-1]
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores of {model} (load {load:.1f} before the run), nginx {version}, {time.strftime('%Y-%m-%d')}"


def write(text):
    begin, end = "<!-- load: begin -->", "<!-- load: end -->"
    old = README.read_text()
    head, rest = old.split(begin, 1)
    tail = rest.split(end, 1)[1]
    README.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def main():
    parser = argparse.ArgumentParser(prog="benches/load/run", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each case in each round")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--write", action="store_true", help="put the table into benches/README.md")
    parser.add_argument("--peer-only", action="store_true", help="nginx alone, to try the set-up")
    options = parser.parse_args()

    where = machine()
    folder = Path(tempfile.mkdtemp(prefix="forebay-load-"))
    servers = []
    try:
        origin = start_origin(folder)
        servers.append(origin)
        sides = {"nginx": start_nginx(folder, origin.port)}
        servers.append(sides["nginx"])
        if not options.peer_only:
            sides["forebay"] = start_ours(folder, origin.port)
            servers.append(sides["forebay"])
        jobs = [(case, side, ours if side == "forebay" else peer)
                for case, ours, peer in CASES for side in sides]
        for _, side, path in jobs:
            verify(sides[side], path)
        runs = {case: {side: [] for side in sides} for case, _, _ in CASES}
        warm = argparse.Namespace(connections=options.connections, seconds=1)
        for _, side, path in jobs:
            measure(sides[side], path, warm)
        for number in range(options.rounds):
            random.shuffle(jobs)
            for case, side, path in jobs:
                run = measure(sides[side], path, options)
                runs[case][side].append(run)
                print(f"round {number + 1}: {side:8} {case:45} {run['cpu']:6.1f} µs {run['rate']:9,.0f}/s", file=sys.stderr)
        for _, side, path in jobs:
            verify(sides[side], path)
        if options.peer_only:
            return
        text = (f"{where}; {options.rounds} rounds of {options.seconds} s, {options.connections} connections:\n\n"
                + table(runs))
        print(text)
        if options.write:
            write(text)
    finally:
        for server in reversed(servers):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"benches/load/run: {failed}")
