// A backend without an inference library, for the tests of Session. Its stage files are text, one
// tensor of float32 a line:
//
//   in NAME SIZE…       a size of -1 is open
//   out NAME SIZE…
//   result NAME SIZE…   the shape in which that output comes out; else open sizes are 1
//
// Every value of an output is the same: of one named `leading_batch` or `independent_images` that
// session option, of one named `runs` the number of runs of the context, of others 100 * position +
// the first value of the first input.
#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "backends/plugin_api.h"

namespace {

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

using Tensors = std::vector<Tensor>;

std::vector<instseg_tensor> describe(const Tensors& tensors) {
  std::vector<instseg_tensor> result;
  for (const Tensor& tensor : tensors) {
    result.push_back({tensor.name.c_str(), INSTSEG_FLOAT32,
                      static_cast<std::int32_t>(tensor.shape.size()), tensor.shape.data()});
  }
  return result;
}

}  // namespace

struct instseg_session {
  Tensors inputs, outputs;
  std::map<std::string, std::vector<std::int64_t>> results;
  std::vector<instseg_tensor> input_tensors, output_tensors;
  int leading_batch = 0;
  int independent_images = 0;
};

struct instseg_context {
  instseg_session* session;
  int runs = 0;
  std::vector<std::vector<float>> memory;
  std::vector<std::vector<std::int64_t>> shapes;
};

namespace {

// So that it is never chosen where a test asks for any backend.
std::int32_t supports_device(const char*) { return 0; }

std::int32_t session_create(const char* path, const instseg_session_options* options,
                            instseg_session** session, instseg_message*) {
  auto created = std::make_unique<instseg_session>();
  created->leading_batch = options->leading_batch;
  created->independent_images = options->independent_images;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    Tensor tensor;
    words >> kind >> tensor.name;
    for (std::int64_t size = 0; words >> size;) {
      tensor.shape.push_back(size);
    }
    if (kind == "result") {
      created->results[tensor.name] = tensor.shape;
    } else {
      (kind == "in" ? created->inputs : created->outputs).push_back(tensor);
    }
  }
  created->input_tensors = describe(created->inputs);
  created->output_tensors = describe(created->outputs);
  *session = created.release();
  return INSTSEG_STATUS_OK;
}

void session_destroy(instseg_session* session) { std::unique_ptr<instseg_session>{session}; }

std::int32_t session_inputs(const instseg_session* session, const instseg_tensor** tensors,
                            std::size_t* count) {
  *tensors = session->input_tensors.data();
  *count = session->input_tensors.size();
  return INSTSEG_STATUS_OK;
}

std::int32_t session_outputs(const instseg_session* session, const instseg_tensor** tensors,
                             std::size_t* count) {
  *tensors = session->output_tensors.data();
  *count = session->output_tensors.size();
  return INSTSEG_STATUS_OK;
}

std::int32_t context_create(instseg_session* session, const instseg_context_options*,
                            instseg_context** context, instseg_message*) {
  auto created = std::make_unique<instseg_context>();
  created->session = session;
  created->memory.resize(session->outputs.size());
  created->shapes.resize(session->outputs.size());
  *context = created.release();
  return INSTSEG_STATUS_OK;
}

void context_destroy(instseg_context* context) { std::unique_ptr<instseg_context>{context}; }

float value_of(const instseg_context& context, std::size_t output, const instseg_memory* inputs) {
  const std::string& name = context.session->outputs[output].name;
  if (name == "leading_batch") {
    return static_cast<float>(context.session->leading_batch);
  }
  if (name == "independent_images") {
    return static_cast<float>(context.session->independent_images);
  }
  return name == "runs"
             ? static_cast<float>(context.runs)
             : 100.0F * static_cast<float>(output) + *static_cast<const float*>(inputs[0].data);
}

std::int32_t context_run(instseg_context* context, const instseg_memory* inputs,
                         instseg_memory* outputs, instseg_message*) {
  const instseg_session& session = *context->session;
  ++context->runs;
  for (std::size_t i = 0; i < session.outputs.size(); ++i) {
    if (outputs[i].data == nullptr) {
      const auto known = session.results.find(session.outputs[i].name);
      std::vector<std::int64_t>& shape = context->shapes[i];
      shape = known != session.results.end() ? known->second : session.outputs[i].shape;
      std::replace(shape.begin(), shape.end(), std::int64_t{-1}, std::int64_t{1});
      outputs[i].rank = static_cast<std::int32_t>(shape.size());
      outputs[i].shape = shape.data();
    }
    std::int64_t count = 1;
    for (std::int32_t axis = 0; axis < outputs[i].rank; ++axis) {
      count *= outputs[i].shape[axis];
    }
    if (outputs[i].data == nullptr) {
      context->memory[i].resize(static_cast<std::size_t>(count));
      outputs[i].data = context->memory[i].data();
    }
    std::fill_n(static_cast<float*>(outputs[i].data), count, value_of(*context, i, inputs));
  }
  return INSTSEG_STATUS_OK;
}

}  // namespace

extern "C" const instseg_backend* instseg_backend_entry(uint32_t) {
  static const instseg_backend backend{INSTSEG_BACKEND_ABI_VERSION,
                                       sizeof(instseg_backend),
                                       "fake",
                                       "1",
                                       supports_device,
                                       session_create,
                                       session_destroy,
                                       session_inputs,
                                       session_outputs,
                                       context_create,
                                       context_destroy,
                                       context_run,
                                       0,
                                       nullptr,
                                       nullptr,
                                       nullptr,
                                       nullptr,
                                       nullptr};
  return &backend;
}
