#include "ops/query_decode.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "instseg/error.hpp"
#include "ops/mask_check.hpp"
#include "ops/mask_logits.hpp"

namespace instseg {
namespace {

using Ranked = QueryScratch::Ranked;

constexpr float kLargestCell = 1e30F;  // finite after interpolation

constexpr const char* kWhere = "query decode";

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, std::string(kWhere) + ": " + what);
}

void check_count(const char* what, std::size_t found, int rows, int columns) {
  const std::size_t expected = static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  if (found != expected) {
    fail(std::to_string(found) + " values of " + what + ", expected " + std::to_string(expected) +
         " (" + std::to_string(rows) + " x " + std::to_string(columns) + ")");
  }
}

void check(const QueryOutputs& outputs, int image_height, int image_width, const QuerySpec& spec) {
  check_size(kWhere, "the image", image_width, image_height);
  check_size(kWhere, "a feature map", outputs.width, outputs.height);
  if (outputs.queries < 0 || outputs.classes < 0 || outputs.channels < 1 ||
      std::int64_t{outputs.queries} * outputs.classes > INT32_MAX) {
    fail(std::to_string(outputs.queries) + " queries, " + std::to_string(outputs.classes) +
         " classes and " + std::to_string(outputs.channels) +
         " channels, expected 0 or more, 0 or more and at least 1");
  }
  check_count("logits", outputs.logits.size(), outputs.queries, outputs.classes);
  check_count("boxes", outputs.boxes.size(), outputs.queries, 4);
  check_count("embeddings", outputs.embeddings.size(), outputs.queries, outputs.channels);
  check_count("features", outputs.features.size(), outputs.channels,
              outputs.height * outputs.width);
  if (std::isnan(spec.score_threshold) ||
      !(spec.mask_threshold >= 0.0F && spec.mask_threshold <= 1.0F)) {
    fail("the score threshold is NaN, or the mask threshold is not in [0, 1]");
  }
}

// Library exp: the score is given to the caller.
float sigmoid_of(float logit) { return 1.0F / (1.0F + std::exp(-logit)); }

void rank(const QueryOutputs& outputs, const QuerySpec& spec, std::vector<Ranked>& ranked) {
  ranked.clear();
  for (std::size_t i = 0; i < outputs.logits.size(); ++i) {
    if (!std::isnan(outputs.logits[i])) {
      ranked.push_back({outputs.logits[i], static_cast<int>(i)});
    }
  }
  const auto better = [](const Ranked& a, const Ranked& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.index < b.index;
  };
  if (spec.top_k >= 0 && ranked.size() > static_cast<std::size_t>(spec.top_k)) {
    const auto end = ranked.begin() + spec.top_k;
    std::nth_element(ranked.begin(), end, ranked.end(), better);
    ranked.erase(end, ranked.end());
  }
  std::sort(ranked.begin(), ranked.end(), better);
  std::erase_if(ranked, [&](const Ranked& candidate) {
    return !(sigmoid_of(candidate.logit) > spec.score_threshold);
  });
}

// Lists the queries with an instance, and gathers their embeddings.
void gather(const QueryOutputs& outputs, QueryScratch& scratch) {
  scratch.slots.assign(static_cast<std::size_t>(outputs.queries), -1);
  scratch.queries.clear();
  for (const Ranked& candidate : scratch.ranked) {
    const int query = candidate.index / outputs.classes;
    int& slot = scratch.slots[static_cast<std::size_t>(query)];
    if (slot < 0) {
      slot = static_cast<int>(scratch.queries.size());
      scratch.queries.push_back(query);
    }
  }
  scratch.embeddings.resize(static_cast<int>(scratch.queries.size()), outputs.channels);
  for (std::size_t row = 0; row < scratch.queries.size(); ++row) {
    scratch.embeddings.set_row(
        static_cast<int>(row),
        outputs.embeddings.data() + std::ptrdiff_t{scratch.queries[row]} * outputs.channels);
  }
}

void render(const QueryOutputs& outputs, int image_height, int image_width, float threshold,
            ThreadPool& pool, QueryScratch& scratch) {
  const int height = outputs.height;
  const int width = outputs.width;
  const std::size_t cells = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  compose_axis({width, width, width, image_width}, {0, width}, scratch.x);
  compose_axis({height, height, height, image_height}, {0, height}, scratch.y);
  scratch.rendered.resize(scratch.queries.size());
  pool.parallel_for(
      0, static_cast<std::int64_t>(scratch.queries.size()), 1,
      [&](std::int64_t begin, std::int64_t end) {
        thread_local RenderScratch buffers;
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          const std::span<const float> logits = std::span(scratch.logits).subspan(i * cells, cells);
          const CellBounds set = bounds_above(logits, height, width, threshold);
          const AxisWindow x = narrow(scratch.x, image_width, set.x);
          const AxisWindow y = narrow(scratch.y, image_height, set.y);
          scratch.rendered[i] =
              crop_to_bounds(render_mask(x, y, threshold, buffers, [&](int row, float* out) {
                const float* source = logits.data() + std::ptrdiff_t{row} * width + x.cells.begin;
                for (int k = 0; k < x.cells.size(); ++k) {
                  const float raised = source[k] > -kLargestCell ? source[k] : -kLargestCell;
                  out[k] = raised < kLargestCell ? raised : kLargestCell;
                }
              }));
        }
      });
}

Box box_of(const float* centred, int image_height, int image_width) {
  const auto width = static_cast<float>(image_width);
  const auto height = static_cast<float>(image_height);
  return {(centred[0] - 0.5F * centred[2]) * width, (centred[1] - 0.5F * centred[3]) * height,
          (centred[0] + 0.5F * centred[2]) * width, (centred[1] + 0.5F * centred[3]) * height};
}

}  // namespace

std::vector<QueryInstance> decode_queries(const QueryOutputs& outputs, int image_height,
                                          int image_width, const QuerySpec& spec, ThreadPool& pool,
                                          QueryScratch& scratch) {
  check(outputs, image_height, image_width, spec);
  rank(outputs, spec, scratch.ranked);
  gather(outputs, scratch);
  const int cells = outputs.height * outputs.width;
  scratch.logits.resize(scratch.queries.size() * static_cast<std::size_t>(cells));
  multiply(scratch.embeddings, outputs.features, cells, pool, scratch.logits);
  render(outputs, image_height, image_width, logit_of(spec.mask_threshold), pool, scratch);

  std::vector<QueryInstance> instances;
  for (const Ranked& candidate : scratch.ranked) {
    const int query = candidate.index / outputs.classes;
    const int slot = scratch.slots[static_cast<std::size_t>(query)];
    instances.push_back(
        {candidate.index % outputs.classes, query, sigmoid_of(candidate.logit),
         box_of(outputs.boxes.data() + std::ptrdiff_t{query} * 4, image_height, image_width),
         scratch.rendered[static_cast<std::size_t>(slot)]});
  }
  return instances;
}

}  // namespace instseg
