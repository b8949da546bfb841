# The service config that the clients of all languages share, in two parts: what channels are given, and default deadlines.
# gRPC takes a `timeout` as a ceiling of the caller's own deadline. Here it is a default, so it is left out of the first part.
set(service_config_file ${CMAKE_CURRENT_SOURCE_DIR}/../service_config.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${service_config_file})
file(READ ${service_config_file} TURNOUT_CHANNEL_CONFIG)

set(TURNOUT_DEFAULT_TIMEOUTS "")
string(JSON count LENGTH "${TURNOUT_CHANNEL_CONFIG}" methodConfig)
math(EXPR last "${count} - 1")
foreach(at RANGE ${last})
  string(JSON timeout GET "${TURNOUT_CHANNEL_CONFIG}" methodConfig ${at} timeout)
  string(REGEX REPLACE "s$" "" timeout "${timeout}")
  string(JSON names LENGTH "${TURNOUT_CHANNEL_CONFIG}" methodConfig ${at} name)
  math(EXPR last_name "${names} - 1")
  foreach(name RANGE ${last_name})
    string(JSON service GET "${TURNOUT_CHANNEL_CONFIG}" methodConfig ${at} name ${name} service)
    string(JSON method GET "${TURNOUT_CHANNEL_CONFIG}" methodConfig ${at} name ${name} method)
    string(APPEND TURNOUT_DEFAULT_TIMEOUTS "    {\"${service}/${method}\", ${timeout}},\n")
  endforeach()
  string(JSON TURNOUT_CHANNEL_CONFIG REMOVE "${TURNOUT_CHANNEL_CONFIG}" methodConfig ${at} timeout)
endforeach()

configure_file(${CMAKE_CURRENT_LIST_DIR}/service_config.h.in ${CMAKE_CURRENT_BINARY_DIR}/generated/service_config.h @ONLY)
