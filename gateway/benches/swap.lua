-- One row again and again; every answer must be the one of the version that its header names. Run by models.py.
local body = assert(io.open(os.getenv("BODIES"))):read("*l")
local expected = { ["1"] = os.getenv("ROW_1"), ["2"] = os.getenv("ROW_2") }
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  wrong = 0
end

wrk.path = "/predict"
wrk.method = "POST"
wrk.body = body
wrk.headers["Content-Type"] = "application/json"

function response(status, headers, answer)
  local version = headers["x-modelgate-version"]
  if status ~= 200 or answer ~= expected[version] then
    wrong = wrong + 1
  end
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do
    failed = failed + thread:get("wrong")
  end
  io.write(string.format('RESULT {"requests":%d,"seconds":%f,"failed":%d,"p99_us":%f}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(99)))
end
