// COCO's run-length encoding. The runs go down the columns, the packed rows go across, so both
// directions work on blocks of 32 columns that are transposed in 32 x 32 tiles.
#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <utility>
#include <vector>

#include "instseg/error.hpp"
#include "instseg/mask.hpp"
#include "ops/bit_matrix.hpp"
#include "ops/mask_check.hpp"

namespace instseg {
namespace {

using Tile = std::array<std::uint32_t, 32>;

// A count is stored as its difference from the one two before (from the fourth on), five bits per
// character, lowest first; 0x20 says that more follow, 0x10 of the last is the sign. The
// characters start at '0'.
constexpr int kCharacterBase = 48;
constexpr int kMoreFollow = 0x20;
constexpr int kMaxCharactersPerCount = 7;  // 35 bits, more than kMaxImagePixels needs

class RunEncoder {
 public:
  // Set pixels [begin, end) in column-major order; begin is not below the last end.
  void add(std::int64_t begin, std::int64_t end) {
    if (begin == run_end_ && run_begin_ != run_end_) {
      run_end_ = end;  // goes on from the column before
      return;
    }
    flush();
    run_begin_ = begin;
    run_end_ = end;
  }

  std::string finish(std::int64_t pixels) {
    flush();
    if (written_end_ < pixels || counts_ == 0) {
      write(pixels - written_end_);
    }
    return std::move(text_);
  }

 private:
  void flush() {
    if (run_begin_ == run_end_) {
      return;
    }
    write(run_begin_ - written_end_);
    write(run_end_ - run_begin_);
    written_end_ = run_end_;
  }

  void write(std::int64_t count) {
    std::int64_t rest = counts_ > 2 ? count - before_last_ : count;
    before_last_ = last_;
    last_ = count;
    ++counts_;
    bool more = true;
    while (more) {
      int character = static_cast<int>(rest & 0x1F);
      rest >>= 5;
      more = (character & 0x10) != 0 ? rest != -1 : rest != 0;
      if (more) {
        character |= kMoreFollow;
      }
      text_.push_back(static_cast<char>(character + kCharacterBase));
    }
  }

  std::string text_;
  std::int64_t counts_ = 0;
  std::int64_t last_ = 0;
  std::int64_t before_last_ = 0;
  std::int64_t written_end_ = 0;
  std::int64_t run_begin_ = 0;
  std::int64_t run_end_ = 0;
};

// Adds the runs of one column of `height` bits; bit 0 is pixel `position` of the image.
void encode_column(const std::uint32_t* words, int height, std::int64_t position,
                   RunEncoder& encoder) {
  std::uint32_t above = 0;
  std::int64_t begin = 0;
  bool open = false;
  for (int y = 0; y < height; y += 32, ++words) {
    std::uint32_t changes = *words ^ (*words << 1 | above);
    above = *words >> 31;
    for (; changes != 0; changes &= changes - 1) {
      const std::int64_t at = position + y + std::countr_zero(changes);
      if (open) {
        encoder.add(begin, at);
      } else {
        begin = at;
      }
      open = !open;
    }
  }
  if (open) {
    encoder.add(begin, position + height);
  }
}

[[noreturn]] void fail_decode(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "run-length encoding: " + what);
}

std::vector<std::int64_t> parse_counts(std::string_view text, int image_height, int image_width) {
  const std::int64_t pixels = std::int64_t{image_height} * image_width;
  std::vector<std::int64_t> counts;
  std::int64_t sum = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::int64_t value = 0;
    int characters = 0;
    bool more = true;
    while (more) {
      if (at == text.size()) {
        fail_decode("the text ends inside count " + std::to_string(counts.size()));
      }
      const int character = static_cast<unsigned char>(text[at]) - kCharacterBase;
      if (character < 0 || character > 0x3F || characters == kMaxCharactersPerCount) {
        fail_decode("byte " + std::to_string(at) + " is not part of a COCO `counts` string");
      }
      value |= std::int64_t{character & 0x1F} << (5 * characters);
      more = (character & kMoreFollow) != 0;
      ++at;
      ++characters;
      if (!more && (character & 0x10) != 0) {
        value -= std::int64_t{1} << (5 * characters);
      }
    }
    if (counts.size() > 2) {
      value += counts[counts.size() - 2];
    }
    if (value < 0 || value > pixels - sum) {
      fail_decode("count " + std::to_string(counts.size()) + " is " + std::to_string(value) +
                  ", expected 0 to " + std::to_string(pixels - sum) + " in an image of " +
                  std::to_string(image_width) + " x " + std::to_string(image_height));
    }
    sum += value;
    counts.push_back(value);
  }
  if (sum != pixels) {
    fail_decode("the counts add up to " + std::to_string(sum) + " pixels, expected " +
                std::to_string(pixels) + " for an image of " + std::to_string(image_width) + " x " +
                std::to_string(image_height));
  }
  return counts;
}

struct ColumnRun {
  int x;
  int begin;  // y
  int end;
};

// Calls `visit` with every piece of a run of set pixels that lies in one column.
template <class Visit>
void for_each_column_run(const std::vector<std::int64_t>& counts, int image_height, Visit visit) {
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const std::int64_t end = begin + counts[i];
    if (i % 2 == 1) {
      while (begin < end) {
        const std::int64_t x = begin / image_height;
        const std::int64_t column_end = std::min(end, (x + 1) * image_height);
        visit(ColumnRun{static_cast<int>(x), static_cast<int>(begin - x * image_height),
                        static_cast<int>(column_end - x * image_height)});
        begin = column_end;
      }
    }
    begin = end;
  }
}

// Sets bits [begin, end) of a column.
void set_bits(std::uint32_t* column, int begin, int end) {
  const int first = begin >> 5;
  const int last = (end - 1) >> 5;
  const std::uint32_t head = ~low_bits(begin & 31);
  const std::uint32_t tail = low_bits(((end - 1) & 31) + 1);
  if (first == last) {
    column[first] |= head & tail;
    return;
  }
  column[first] |= head;
  std::fill(column + first + 1, column + last, ~std::uint32_t{0});
  column[last] |= tail;
}

}  // namespace

std::string encode_rle(const PackedMask& mask, int image_height, int image_width) {
  check_mask_in_image(mask, image_height, image_width, "encode_rle");
  RunEncoder encoder;
  const int row_words = mask.words_per_row();
  const int column_words = (mask.height() + 31) / 32;
  std::vector<std::uint32_t> columns(32 * static_cast<std::size_t>(column_words));
  for (int block = 0; block < row_words; ++block) {
    std::uint32_t any = 0;
    for (int tile_row = 0; tile_row < column_words; ++tile_row) {
      Tile tile{};
      const int rows = std::min(32, mask.height() - tile_row * 32);
      const std::uint32_t* source =
          mask.words().data() + std::ptrdiff_t{tile_row} * 32 * row_words + block;
      for (int row = 0; row < rows; ++row) {
        tile[static_cast<std::size_t>(row)] = source[std::ptrdiff_t{row} * row_words];
        any |= tile[static_cast<std::size_t>(row)];
      }
      transpose_bits(tile);
      for (int column = 0; column < 32; ++column) {
        columns[static_cast<std::size_t>(column * column_words + tile_row)] =
            tile[static_cast<std::size_t>(column)];
      }
    }
    for (int column = 0; any != 0 && column < std::min(32, mask.width() - block * 32); ++column) {
      const std::int64_t image_x = mask.x() + block * 32 + column;
      encode_column(columns.data() + std::ptrdiff_t{column} * column_words, mask.height(),
                    image_x * image_height + mask.y(), encoder);
    }
  }
  return encoder.finish(std::int64_t{image_height} * image_width);
}

PackedMask decode_rle(std::string_view text, int image_height, int image_width) {
  check_mask_image(image_height, image_width, "decode_rle");
  const std::vector<std::int64_t> counts = parse_counts(text, image_height, image_width);

  int left = image_width;
  int right = 0;
  int top = image_height;
  int bottom = 0;
  for_each_column_run(counts, image_height, [&](const ColumnRun& run) {
    left = std::min(left, run.x);
    right = std::max(right, run.x + 1);
    top = std::min(top, run.begin);
    bottom = std::max(bottom, run.end);
  });
  if (right == 0) {
    return {};
  }

  const int width = right - left;
  const int height = bottom - top;
  const int row_words = (width + 31) / 32;
  const int column_words = (height + 31) / 32;
  std::vector<std::uint32_t> words(static_cast<std::size_t>(row_words) *
                                   static_cast<std::size_t>(height));
  std::vector<std::uint32_t> columns(32 * static_cast<std::size_t>(column_words));
  int block = 0;
  const auto store_block = [&] {
    for (int tile_row = 0; tile_row < column_words; ++tile_row) {
      Tile tile;
      for (int column = 0; column < 32; ++column) {
        tile[static_cast<std::size_t>(column)] =
            columns[static_cast<std::size_t>(column * column_words + tile_row)];
      }
      transpose_bits(tile);
      const int rows = std::min(32, height - tile_row * 32);
      for (int row = 0; row < rows; ++row) {
        words[static_cast<std::size_t>(tile_row * 32 + row) * static_cast<std::size_t>(row_words) +
              static_cast<std::size_t>(block)] = tile[static_cast<std::size_t>(row)];
      }
    }
  };
  for_each_column_run(counts, image_height, [&](const ColumnRun& run) {
    const int x = run.x - left;
    if (x / 32 != block) {
      store_block();
      std::ranges::fill(columns, std::uint32_t{0});
      block = x / 32;
    }
    set_bits(columns.data() + std::ptrdiff_t{x % 32} * column_words, run.begin - top,
             run.end - top);
  });
  store_block();
  return PackedMask(left, top, width, height, std::move(words));
}

}  // namespace instseg
