-- wrk: as request.lua, and each connection waits between two requests: DELAY milliseconds on average.
dofile(os.getenv("REQUEST_SCRIPT"))
local most = 2 * tonumber(os.getenv("DELAY"))

function delay()
  return math.random(0, most)
end
