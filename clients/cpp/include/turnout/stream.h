// Streams: what comes back, as it comes.
#pragma once

#include <grpcpp/support/sync_stream.h>

#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "turnout/call.h"

namespace turnout {

// What a stream's end means: nothing if it ended well, else throws its error.
void check_end(const grpc::Status& status);

// A stream that one thread reads, by `next` or in a range-based for; `cancel` may be called from any other, and then reading
// ends with CallCancelledError. Its end cancels what is not at its end.
template <class Value, class Message, class Reader>
class ResponseStream {
 public:
  using Decode = Value (*)(Message&&);

  // `owner` keeps the connection while the stream lives.
  ResponseStream(std::unique_ptr<Call> call, std::unique_ptr<Reader> reader, std::shared_ptr<const void> owner, Decode decode)
      : owner_(std::move(owner)), call_(std::move(call)), reader_(std::move(reader)), decode_(decode) {}
  ResponseStream(ResponseStream&&) = default;
  ResponseStream& operator=(ResponseStream&&) = delete;
  ~ResponseStream() {
    if (reader_ == nullptr || finished_) return;
    cancel();
    // Until the call is at its end, gRPC's own threads may still use what it points to.
    reader_->Finish();
  }

  // Waits for what comes next; empty at the end of a stream that ended well. Throws Error where it failed.
  std::optional<Value> next() {
    Message message;
    if (!finished_ && reader_->Read(&message)) return decode_(std::move(message));
    if (!finished_) {
      status_ = reader_->Finish();
      finished_ = true;
    }
    check_end(status_);
    return std::nullopt;
  }

  void cancel() { call_->context()->TryCancel(); }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Value;
    using difference_type = std::ptrdiff_t;
    using pointer = Value*;
    using reference = Value&;

    Iterator() = default;
    explicit Iterator(ResponseStream* stream) : stream_(stream) { ++*this; }
    reference operator*() { return *value_; }
    pointer operator->() { return &*value_; }
    Iterator& operator++() {
      value_ = stream_->next();
      if (!value_.has_value()) stream_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(const Iterator& other) const { return stream_ == other.stream_; }
    bool operator!=(const Iterator& other) const { return stream_ != other.stream_; }

   private:
    ResponseStream* stream_ = nullptr;
    std::optional<Value> value_;
  };

  Iterator begin() { return Iterator(this); }
  Iterator end() { return Iterator(); }

 protected:
  Reader* reader() { return reader_.get(); }

 private:
  std::shared_ptr<const void> owner_;
  std::unique_ptr<Call> call_;
  std::unique_ptr<Reader> reader_;
  Decode decode_;
  grpc::Status status_;
  bool finished_ = false;
};

// The events of an answer, as turnout/v1/completion.proto has them.
using CompletionStream = ResponseStream<v1::CompleteStreamResponse, v1::CompleteStreamResponse,
                                        grpc::ClientReaderInterface<v1::CompleteStreamResponse>>;

// Decisions for requests as they come: an outcome for each, in their order. Send from one thread and read from another, or send
// a few before reading: the service stops reading where its results are not read.
class RouteStream
    : public ResponseStream<Outcome, v1::RouteStreamResponse,
                            grpc::ClientReaderWriterInterface<v1::RouteStreamRequest, v1::RouteStreamResponse>> {
 public:
  using ResponseStream::ResponseStream;

  // False if the stream has ended, and the request was not sent; reading says why.
  bool send(const v1::RouteRequest& request) {
    v1::RouteStreamRequest message;
    *message.mutable_request() = request;
    return reader()->Write(message);
  }

  // No more requests will come: the stream ends with the last result.
  void finish() { reader()->WritesDone(); }
};

}  // namespace turnout
