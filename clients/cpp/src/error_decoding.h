// From what arrives on the wire to errors. Nothing that a peer may send makes this throw.
#pragma once

#include <memory>

#include "turnout/errors.h"

namespace turnout {

// The error of a failed RPC: by the google.rpc.Status in its trailers, else by code and message alone.
std::shared_ptr<const Error> decode_status(const grpc::Status& status);

// The error of one item of a batch or stream.
std::shared_ptr<const Error> decode_item(const v1::RouteError& error);

// An error's class: by its reason where that has one, else by its code, so that new reasons break nothing.
std::shared_ptr<const Error> classify(ErrorDetails details);

}  // namespace turnout
