// What plans keep; products at the limits of integers; and epilogues.
#include <cstring>

#include "ops.h"
#include "products.h"
#include "targets.h"

namespace sparsecore::testing {
namespace {

bool same_bytes(const Array& a, const Array& b) {
  return a.bytes().size() == b.bytes().size() &&
         std::memcmp(a.data(), b.data(), at(a.bytes().size())) == 0;
}

TEST_CASE("plans give back their pattern and values, and take new ones") {
  for_each_target([] {
    Index number = 0;
    for (const DType dtype : kDTypes) {
      Rng rng(11);
      for (const double density : {0.0, 0.1, 0.9}) {
        const Sparse a = random_sparse(rng, dtype, 133, 61, density);
        Sparse b = a;
        for (double& value : b.values) value = random_number(rng, dtype);
        for (const Way& way : kWays) {
          if (way.storage != Storage::kPlan || way.is_transposed) continue;
          INFO(way.name << ", " << dtype_name(dtype) << ", density " << density);
          const std::shared_ptr<const CsrStructure> structure = a.structure();
          const Array old_values = a.stored_values(++number % 3), new_values = b.stored_values();
          const std::unique_ptr<Plan> plan =
              make_plan(structure, old_values.data(), dtype,
                        {way.knows_columns ? 2 : -1, false, way.kernel}, 1);
          const Array unpacked(dtype, a.nnz());
          plan->unpack(unpacked.data(), 1);
          CHECK(same_bytes(unpacked, old_values));
          plan->update(new_values.data(), 2);
          plan->unpack(unpacked.data(), 2);
          CHECK(same_bytes(unpacked, new_values));
          CHECK_EQ(structure_mismatch(a, *plan->structure()), "");
          const Dense x = random_dense(rng, DType::kFloat64, 61, 2);
          if (!is_floating(dtype) || dtype == DType::kFloat64) {
            const Array scale = random_array(rng, DType::kFloat64, 133);
            const EpilogueParts epilogue{.scale = &scale};
            const Dense y(DType::kFloat64, 133, 2);
            plan_matmul(*plan, {x.view(), epilogue.view(), y.view(), false, 1, "product"});
            CHECK_EQ(product_mismatch(b, x, epilogue, y), "");
          }
        }
      }
    }
  });
}

TEST_CASE("a plan made for one target runs on every other") {
  const std::vector<std::string> targets = supported_targets();
  const std::string before(active_target());
  for (const std::string& maker : targets) {
    for (const Mix& mix : {kMixes[0], kMixes[1], kMixes[4], kMixes[5]}) {
      for (const Way& way : kWays) {
        for (const Index n : either({1, 3, 17}, {3})) {
          Rng rng(12);
          const Sparse a = random_sparse(rng, mix.values, 70, 90, 0.3);
          set_target(maker);
          const Multiplier multiplier(way, a, n);
          for (const std::string& runner : targets) {
            INFO(way.name << " made for " << maker << " on " << runner << ", n=" << n);
            set_target(runner);
            const Dense x = random_dense(rng, mix.x, 90, n);
            const Dense y(result_dtype(mix.values, mix.x), 70, n);
            multiplier.run(x, {}, y);
            CHECK_EQ(product_mismatch(a, x, {}, y), "");
          }
        }
      }
    }
  }
  set_target(before);
}

// -128 * -128, summed up to int32's last value, past it, and past it and back.
TEST_CASE("sums of int8 products at int32's limits") {
  constexpr Index kMost = 131071;  // (2^31 - 1) / 128^2
  for_each_target([] {
    for (const Index entries : {kMost, kMost + 2, kMost + 30}) {
      Sparse a(DType::kInt8, entries);
      for (Index c = 0; c < entries; ++c) a.add_entry(c, -128);
      a.end_row();
      for (const Index n : either({1, 3}, {1})) {
        Dense x(DType::kInt8, entries, n);
        for (Index r = 0; r < entries; ++r) {
          const bool comes_back = entries == kMost + 30 && r >= entries - 40;
          for (Index j = 0; j < n; ++j) x.set(r, j, comes_back ? 127 : -128);
        }
        for (const Way& way : kWays) {
          if (are_few() && way.is_transposed) continue;
          INFO(way.name << ", " << entries << " entries, n=" << n);
          const Dense y(DType::kInt32, 1, n);
          const Multiplier multiplier(way, a, n);
          if (entries == kMost + 2) {
            CHECK_THROWS_AS(multiplier.run(x, {}, y), std::overflow_error);
          } else {
            multiplier.run(x, {}, y);
            CHECK_EQ(product_mismatch(a, x, {}, y), "");
          }
        }
      }
    }
  });
}

TEST_CASE("epilogues") {
  for_each_target([] {
    Index number = 0;
    for (const Mix& mix : kMixes) {
      if (mix.x == DType::kInt8) continue;
      const Index lanes = lanes_of(summed_in(mix.values, mix.x));
      for (const Index n : either({1, 2, lanes, 2 * lanes + 1}, {1, lanes - 1})) {
        for (const Activation activation :
             {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kSilu}) {
          Rng rng(static_cast<unsigned>(++number));
          const Index rows = 16 + number % 5;
          const Sparse a = random_sparse(rng, mix.values, rows, 23, 0.4);
          const DType other = number % 2 == 0 ? DType::kFloat32 : DType::kFloat64;
          const Array scale = random_array(rng, other, rows, 1.0 / 64, shift_of(number));
          const Array bias = random_array(rng, mix.x, rows, 1, shift_of(number + 1));
          const Dense residual =
              random_dense(rng, mix.x, rows, n, layout_of(number), shift_of(number + 2));
          const bool is_scaled = mix.is_scaled || number % 3 == 0;
          const EpilogueParts epilogue{is_scaled ? &scale : nullptr,
                                       number % 4 == 1 ? nullptr : &bias,
                                       number % 5 == 1 ? nullptr : &residual, activation};
          const Way& way = kWays[at(number) % std::size(kWays)];
          INFO(way.name << ", " << dtype_name(mix.values) << " by " << dtype_name(mix.x)
                        << ", n=" << n << ", activation " << static_cast<int>(activation));
          const Dense x = random_dense(rng, mix.x, 23, n, layout_of(number + 1));
          const Dense y(mix.x, rows, n, layout_of(number + 2), shift_of(number));
          Multiplier(way, a, n).run(x, epilogue, y);
          CHECK_EQ(product_mismatch(a, x, epilogue, y), "");
        }
      }
    }
  });
}

TEST_CASE("residuals of integer products") {
  for_each_target([] {
    Rng rng(14);
    const Sparse a = random_sparse(rng, DType::kInt8, 21, 30, 0.5);
    for (const Index n : {1, 5, 17}) {
      const Dense x = random_dense(rng, DType::kInt8, 30, n);
      Dense residual(DType::kInt32, 21, n);
      for (Index r = 0; r < 21; ++r) {
        for (Index j = 0; j < n; ++j) residual.set(r, j, 1000 * random_number(rng, DType::kInt8));
      }
      for (const Way& way : kWays) {
        INFO(way.name << ", n=" << n);
        const EpilogueParts epilogue{.residual = &residual};
        const Dense y(DType::kInt32, 21, n);
        Multiplier(way, a, n).run(x, epilogue, y);
        CHECK_EQ(product_mismatch(a, x, epilogue, y), "");
      }
    }
  });
}

}  // namespace
}  // namespace sparsecore::testing
