#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/npz.h>
#include <palpate/core/version.h>
#include <palpate/drivers/network_file.h>

#include <cmath>
#include <filesystem>

namespace Palpate
{
  namespace
  {
    const char *format  = "palpate graph network";
    const int   version = 1;

    /// Names, shapes and places of the weights in q.
    struct Weight
    {
      std::string              name;
      std::vector<std::size_t> shape;
      std::size_t              offset, size;
    };
    std::vector<Weight>
    weights_of(const GraphNetwork<3>::Description &d)
    {
      const std::size_t F = d.width;
      return {{"W_nei1", {1, F}, 0, F},
              {"W_self1", {1, F}, F, F},
              {"b1", {F}, 2 * F, F},
              {"W_nei2", {F}, 3 * F, F},
              {"W_self2", {F}, 4 * F, F},
              {"b2", {}, 5 * F, 1}};
    }

    /// What network.json says, from network.npz: all but the weights is in its
    /// "description", JSON in UTF-8, one number a byte. @throw InputError
    nlohmann::json
    json_of_npz(const std::string &filename)
    {
      const NpzArrays arrays = read_npz(filename);
      const auto      text   = arrays.find("description");
      if (text == arrays.end())
        throw InputError(filename,
                         "key 'description' is missing, expected network.npz "
                         "(or network.json) of a training");
      std::string bytes;
      for (const double c : text->second.values)
        bytes.push_back(static_cast<char>(
          static_cast<unsigned char>(c >= 0 && c < 256 ? c : 0)));
      nlohmann::json json = nlohmann::json::parse(bytes);
      for (const auto &[name, array] : arrays)
        if (name != "description" && json.is_object())
          json["weights"][name] =
            array.shape.empty() && (name == "a" || name == "b")
              ? nlohmann::json(array.values[0])
              : nlohmann::json(array.values);
      return json;
    }
  } // namespace

  void
  write_network(const std::string &name, const NetworkFile &network)
  {
    const auto     &d = network.description;
    GraphNetwork<3> whole;
    whole.description = d;
    const auto     ab = whole.linear_map(network.q);
    nlohmann::json json;
    NpzArrays      arrays;
    for (const auto &w : weights_of(d))
      {
        const std::vector<double> values(network.q.begin() + w.offset,
                                         network.q.begin() + w.offset + w.size);
        arrays[w.name]          = NpyArray(w.shape, values);
        json["weights"][w.name] = values;
      }
    arrays["a"]              = NpyArray({}, {ab.first});
    arrays["b"]              = NpyArray({}, {ab.second});
    json["weights"]["a"]     = ab.first;
    json["weights"]["b"]     = ab.second;
    json["format"]           = format;
    json["version"]          = version;
    json["program"]          = std::string("palpate ") + PALPATE_VERSION;
    json["input"]            = "hu_tetra_mean";
    json["hidden_width"]     = d.width;
    json["linear_map"]       = d.linear_map;
    json["smoothing_passes"] = d.smoothing;
    json["HU_range"]         = {d.hu_low, d.hu_high};
    json["normalisation"]    = "per case: (HU - mean) / (std + 1e-6)";
    json["bounds_Pa"]        = {d.limits.lower, d.limits.upper};
    json["factor"]           = network.factor;
    json["scale_identified"] = network.scale_identified;
    json["training"]         = network.training;
    if (d.linear_map == "learned")
      {
        const std::vector<double> linear(network.q.end() - 2, network.q.end());
        json["weights"]["linear"] = linear;
        arrays["linear"]          = NpyArray({2}, linear);
      }
    nlohmann::json without_weights = json;
    without_weights.erase("weights");
    const std::string         text = without_weights.dump();
    std::vector<std::int64_t> bytes;
    for (const char c : text)
      bytes.push_back(static_cast<unsigned char>(c));
    arrays["description"] = NpyArray::integers({bytes.size()}, bytes);
    write_npz(name + ".npz", arrays);
    write_file(name + ".json", json.dump(1) + "\n");
  }

  NetworkFile
  read_network(const std::string &filename)
  {
    nlohmann::json json;
    try
      {
        json = std::filesystem::path(filename).extension() == ".npz"
                 ? json_of_npz(filename)
                 : nlohmann::json::parse(read_file(filename));
      }
    catch (const nlohmann::json::exception &)
      {
        throw InputError(
          filename,
          "is no JSON file, expected network.json or network.npz of a training");
      }
    if (!json.is_object() || !json.contains("format") ||
        json["format"] != format)
      throw InputError(filename,
                       std::string("is no network, expected format '") +
                         format + "'");
    if (!json.contains("version") || json["version"] != version)
      throw InputError(filename,
                       "has version " +
                         (json.contains("version") ? json["version"].dump()
                                                   : std::string("none")) +
                         ", expected " + std::to_string(version));
    NetworkFile network;
    std::string key;
    const auto  take = [&](const nlohmann::json &node, const char *name) {
      key = name;
      return node.at(name);
    };
    const auto take_integer = [&](const char *name, const int highest) {
      const nlohmann::json node = take(json, name);
      if (!node.is_number_integer() || node < 0 || node > highest)
        throw InputError(filename,
                         std::string("'") + name + "' is " + node.dump() +
                           ", expected an integer from 0 to " +
                           std::to_string(highest));
      return node.get<unsigned int>();
    };
    try
      {
        auto &d                  = network.description;
        d.width                  = take_integer("hidden_width", 1024);
        d.linear_map             = take(json, "linear_map");
        d.smoothing              = take_integer("smoothing_passes", 100);
        d.hu_low                 = take(json, "HU_range").at(0);
        d.hu_high                = take(json, "HU_range").at(1);
        d.hu_known               = true;
        d.limits.lower           = take(json, "bounds_Pa").at(0);
        d.limits.upper           = take(json, "bounds_Pa").at(1);
        network.factor           = take(json, "factor");
        network.training         = take(json, "training");
        network.scale_identified = take(json, "scale_identified");
        const auto all           = take(json, "weights");
        auto       names         = weights_of(d);
        if (d.linear_map == "learned")
          names.push_back({"linear", {2}, 0, 2});
        for (const auto &w : names)
          {
            const std::vector<double> values =
              take(all, w.name.c_str()).get<std::vector<double>>();
            if (values.size() != w.size)
              throw InputError(filename,
                               "weights of '" + w.name + "' are " +
                                 std::to_string(values.size()) + ", expected " +
                                 std::to_string(w.size));
            for (const double v : values)
              if (!std::isfinite(v))
                throw InputError(filename,
                                 "'" + w.name +
                                   "' has a value that is not finite");
            network.q.insert(network.q.end(), values.begin(), values.end());
          }
        if (d.linear_map != "learned" && d.linear_map != "fixed" &&
            d.linear_map != "none")
          throw InputError(filename,
                           "'linear_map' is " + d.linear_map +
                             ", expected learned, fixed or none");
        if (!(d.limits.lower > 0 && d.limits.upper > d.limits.lower &&
              network.factor > 0 && d.hu_low <= d.hu_high))
          throw InputError(filename,
                           "'bounds_Pa', 'HU_range' or 'factor' make no sense, "
                           "expected rising limits and positive stiffness");
        GraphNetwork<3> whole;
        whole.description = d;
        const auto   ab   = whole.linear_map(network.q);
        const double a = take(all, "a"), b = take(all, "b");
        if (std::abs(a - ab.first) > 1e-6 * (1 + std::abs(a)) ||
            std::abs(b - ab.second) > 1e-6 * (1e-3 + std::abs(b)))
          throw InputError(filename,
                           "'a' and 'b' do not belong to 'linear' and "
                           "'HU_range': they are its results, change those");
      }
    catch (const nlohmann::json::exception &)
      {
        throw InputError(filename,
                         "key '" + key + "' is missing or of another kind");
      }
    return network;
  }
} // namespace Palpate
