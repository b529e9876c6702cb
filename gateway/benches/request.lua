-- wrk: one request again and again, from the file that REQUEST names: its path, its content type, the length of its JSON
-- part (0: all of it), each on a line, then its body.
local file = io.open(os.getenv("REQUEST"), "rb")
local path, kind, json = file:read("*l"), file:read("*l"), file:read("*l")
local body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.path = path
wrk.body = body
wrk.headers["Content-Type"] = kind
if json ~= "0" then
  wrk.headers["Inference-Header-Content-Length"] = json
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
      + summary.errors.timeout
  io.write(string.format('RESULT {"requests": %d, "seconds": %.6f, "failed": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50), latency:percentile(99)))
end
