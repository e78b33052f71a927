// Readers of case packs and meshes: round trips, every variant of every format
// that can be produced here, and every error with what its message must name.

#include <palpate/core/errors.h>
#include <palpate/core/npz.h>
#include <palpate/mesh/gmsh_session.h>
#include <palpate/mesh/read_case.h>

#include <gtest/gtest.h>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <limits>
#include <sstream>

using namespace Palpate;

namespace
{
  namespace fs = std::filesystem;

  /// A folder for the files of one test, removed afterwards.
  class Folder
  {
  public:
    Folder()
    {
      static int n = 0;
      path         = fs::temp_directory_path() /
             ("palpate_readers_" + std::to_string(getpid()) + "_" +
              std::to_string(n++));
      fs::create_directories(path);
    }
    ~Folder()
    {
      fs::remove_all(path);
    }
    std::string
    operator/(const std::string &name) const
    {
      return (path / name).string();
    }
    std::size_t
    n_files() const
    {
      return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(path), fs::directory_iterator()));
    }

  private:
    fs::path path;
  };

  void
  write_text(const std::string &filename, const std::string &text)
  {
    std::ofstream(filename, std::ios::binary) << text;
  }

  std::string
  read_text(const std::string &filename)
  {
    std::ifstream in(filename, std::ios::binary);
    return {std::istreambuf_iterator<char>(in),
            std::istreambuf_iterator<char>()};
  }

  /// The message of the InputError that @p work must throw.
  template <typename Work>
  std::string
  error_of(const Work &work)
  {
    try
      {
        work();
      }
    catch (const InputError &e)
      {
        const std::string message = e.what();
        EXPECT_EQ(message.find('\n'), std::string::npos) << message;
        EXPECT_NE(message.find("expected"), std::string::npos) << message;
        return message;
      }
    ADD_FAILURE() << "no InputError";
    return "";
  }

  void
  expect_contains(const std::string              &text,
                  const std::vector<std::string> &parts)
  {
    for (const auto &part : parts)
      EXPECT_NE(text.find(part), std::string::npos)
        << "\"" << part << "\" not in \"" << text << "\"";
  }

  template <int dim = 3>
  void
  expect_error(const std::string &filename, std::vector<std::string> parts)
  {
    parts.push_back(filename);
    expect_contains(error_of([&]() { read_case<dim>(filename, 1.); }), parts);
  }

  std::string
  replaced(std::string text, const std::string &what, const std::string &with)
  {
    const std::size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return text.replace(at, what.size(), with);
  }

  // ------------------------------------------------------------------- NPZ

  using Members = std::vector<std::pair<std::string, std::string>>;

  void
  write_zip(const std::string &filename,
            const Members     &members,
            const int          method = ZIP_CM_STORE)
  {
    int    code    = 0;
    zip_t *archive = zip_open(filename.c_str(), ZIP_CREATE, &code);
    ASSERT_NE(archive, nullptr);
    for (const auto &m : members)
      {
        const auto index = zip_file_add(
          archive,
          m.first.c_str(),
          zip_source_buffer(archive, m.second.data(), m.second.size(), 0),
          0);
        zip_set_file_compression(archive, index, method, 0);
      }
    ASSERT_EQ(zip_close(archive), 0);
  }

  std::string
  npy(const std::string &header, const std::string &data, const int version = 1)
  {
    std::string result("\x93NUMPY", 6);
    result += static_cast<char>(version);
    result += '\0';
    for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
      result += static_cast<char>((header.size() >> (8 * i)) & 0xff);
    return result + header + data;
  }

  std::string
  dictionary(const std::string &descr,
             const std::string &shape,
             const bool         fortran = false)
  {
    return "{'descr': '" + descr +
           "', 'fortran_order': " + (fortran ? "True" : "False") +
           ", 'shape': " + shape + ", }\n";
  }

  template <typename T>
  std::string
  bytes(const std::vector<T> &values, const bool big_endian = false)
  {
    std::string result;
    for (const T value : values)
      {
        std::string b(sizeof(T), '\0');
        std::memcpy(&b[0], &value, sizeof(T));
        if (big_endian)
          std::reverse(b.begin(), b.end());
        result += b;
      }
    return result;
  }

  /// Write one array under key x and read it back.
  NpyArray
  read_one(const std::string &member, const int method = ZIP_CM_STORE)
  {
    Folder folder;
    write_zip(folder / "a.npz", {{"x.npy", member}}, method);
    return read_npz(folder / "a.npz").at("x");
  }

  std::string
  error_of_member(const std::string &member)
  {
    Folder folder;
    write_zip(folder / "a.npz", {{"x.npy", member}});
    const auto message = error_of([&]() { read_npz(folder / "a.npz"); });
    expect_contains(message, {folder / "a.npz", "key 'x'"});
    return message;
  }

  using Reals = std::vector<double>;

  // ------------------------------------------------------------- small meshes

  // Two tetrahedra with the common face (1, 2, 3).
  const Reals points3 = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1};
  const std::vector<std::int64_t> cells3 = {0, 1, 2, 3, 1, 2, 3, 4};

  NpzArrays
  pack3()
  {
    return {{"mesh_points", NpyArray({5, 3}, points3)},
            {"tetrahedra", NpyArray::integers({2, 4}, cells3)}};
  }

  void
  expect_two_tets(const CaseData<3> &data, const double unit = 1.)
  {
    ASSERT_EQ(data.mesh.vertices.size(), 5u);
    ASSERT_EQ(data.mesh.cells.size(), 2u);
    for (unsigned int i = 0; i < 15; ++i)
      EXPECT_EQ(data.mesh.vertices[i / 3][i % 3], unit * points3[i]);
    for (unsigned int i = 0; i < 8; ++i)
      EXPECT_EQ(data.mesh.cells[i / 4][i % 4], cells3[i]);
  }

  /// Add an array to the pack, expect the error to name its key and more.
  template <int dim = 3>
  void
  expect_refused(const std::string              &key,
                 const NpyArray                 &array,
                 const std::vector<std::string> &parts,
                 NpzArrays                       pack = pack3())
  {
    Folder folder;
    pack[key] = array;
    write_npz(folder / "case.npz", pack);
    auto all = parts;
    all.push_back("'" + key + "'");
    expect_error<dim>(folder / "case.npz", all);
  }

  NpyArray
  constant(const std::vector<std::size_t> &shape, const double value = 0)
  {
    std::size_t n = 1;
    for (const auto s : shape)
      n *= s;
    return NpyArray(shape, Reals(n, value));
  }

  NpyArray
  identities(std::vector<std::size_t> shape)
  {
    const std::size_t dim = shape.back();
    NpyArray          a   = constant(shape);
    for (std::size_t i = 0; i < a.size(); ++i)
      a.values[i] = (i % dim == (i / dim) % dim ? 1. : 0.);
    return a;
  }
} // namespace



TEST(Npz, RoundTrip)
{
  Folder    folder;
  NpzArrays arrays;
  arrays["real"]   = NpyArray({2, 3},
                            {1. / 3,
                               -0.,
                               1e300,
                               std::numeric_limits<double>::infinity(),
                               5e-324,
                               std::nan("")});
  arrays["whole"]  = NpyArray::integers({3}, {-1, 0, 9007199254740992});
  arrays["scalar"] = NpyArray({}, {7.5});
  arrays["empty"]  = NpyArray({0, 3}, {});
  write_npz(folder / "a.npz", arrays);
  EXPECT_EQ(folder.n_files(), 1u);

  const auto read = read_npz(folder / "a.npz");
  ASSERT_EQ(read.size(), 4u);
  for (const auto &entry : arrays)
    {
      const NpyArray &a = read.at(entry.first);
      EXPECT_EQ(a.shape, entry.second.shape);
      EXPECT_EQ(a.is_integer, entry.second.is_integer);
      ASSERT_EQ(a.size(), entry.second.size());
      EXPECT_TRUE(a.size() == 0 || std::memcmp(a.values.data(),
                                               entry.second.values.data(),
                                               8 * a.size()) == 0);
    }
  EXPECT_EQ(arrays["real"].shape_string(), "(2, 3)");
  EXPECT_EQ(arrays["whole"].shape_string(), "(3,)");
  EXPECT_EQ(arrays["scalar"].shape_string(), "()");
}

TEST(Npz, EqualContentGivesEqualFiles)
{
  Folder folder;
  write_npz(folder / "a.npz", pack3());
  write_npz(folder / "b.npz", pack3());
  EXPECT_EQ(read_text(folder / "a.npz"), read_text(folder / "b.npz"));
}

TEST(Npz, ReplacesAndAcceptsNoArrays)
{
  Folder folder;
  write_npz(folder / "a.npz", pack3());
  write_npz(folder / "a.npz", {});
  EXPECT_TRUE(read_npz(folder / "a.npz").empty());
  EXPECT_EQ(folder.n_files(), 1u);
}

TEST(Npz, WriteFailsWithoutLeftovers)
{
  Folder folder;
  fs::create_directory(folder / "taken.npz");
  for (const std::string name : {"missing/a.npz", "taken.npz"})
    try
      {
        write_npz(folder / name, pack3());
        ADD_FAILURE() << "no error";
      }
    catch (const ComputationError &e)
      {
        expect_contains(e.what(), {(folder / name) + ": cannot write: "});
      }
  EXPECT_EQ(folder.n_files(), 1u);
}

TEST(Npz, ReadsEveryType)
{
  const auto check = [](const std::string &descr, const std::string &data) {
    for (const int method : {ZIP_CM_STORE, ZIP_CM_DEFLATE})
      {
        const auto a = read_one(npy(dictionary(descr, "(3,)"), data), method);
        EXPECT_EQ(a.values, (Reals{0, 1, 100})) << descr;
        EXPECT_EQ(a.is_integer, descr[1] != 'f') << descr;
      }
  };
  for (const bool big : {false, true})
    {
      const std::string order = (big ? ">" : "<");
      check(order + "f4", bytes<float>({0, 1, 100}, big));
      check(order + "f8", bytes<double>({0, 1, 100}, big));
      check(order + "i2", bytes<std::int16_t>({0, 1, 100}, big));
      check(order + "i4", bytes<std::int32_t>({0, 1, 100}, big));
      check(order + "i8", bytes<std::int64_t>({0, 1, 100}, big));
      check(order + "u2", bytes<std::uint16_t>({0, 1, 100}, big));
      check(order + "u4", bytes<std::uint32_t>({0, 1, 100}, big));
      check(order + "u8", bytes<std::uint64_t>({0, 1, 100}, big));
    }
  check("|i1", bytes<std::int8_t>({0, 1, 100}));
  check("|u1", bytes<std::uint8_t>({0, 1, 100}));
  const auto b = read_one(npy(dictionary("|b1", "(2,)"), {"\0\1", 2}));
  EXPECT_EQ(b.values, (Reals{0, 1}));
  EXPECT_TRUE(b.is_integer);
  EXPECT_EQ(read_one(npy(dictionary("<i4", "(1,)"), bytes<int>({-7}))).values,
            Reals{-7});
}

TEST(Npz, ReadsFortranOrderAndAllVersions)
{
  // The array [[[0, 1], [2, 3], [4, 5]]] of shape (1, 3, 2).
  for (const int version : {1, 2, 3})
    {
      const auto a = read_one(npy(dictionary("<f8", "(1, 3, 2)", true),
                                  bytes<double>({0, 2, 4, 1, 3, 5}),
                                  version));
      EXPECT_EQ(a.values, (Reals{0, 1, 2, 3, 4, 5}));
      EXPECT_EQ(a.shape, (std::vector<std::size_t>{1, 3, 2}));
    }
}

TEST(Npz, RefusesObjectArrays)
{
  expect_contains(error_of_member(npy(dictionary("|O", "(1,)"), "pickle")),
                  {"pickled object array", "expected a numeric array"});
}

TEST(Npz, RefusesOtherTypesByName)
{
  const std::vector<std::pair<std::string, std::string>> types = {
    {"<c16", "complex"},
    {"<U3", "string"},
    {"|S3", "string"},
    {"<M8[s]", "date"},
    {"<f2", "'<f2'"},
    {"<f16", "'<f16'"},
    {"|V8", "'|V8'"},
    {"", "''"}};
  for (const auto &type : types)
    expect_contains(error_of_member(
                      npy(dictionary(type.first, "(2,)"), std::string(16, 0))),
                    {type.second, "expected a numeric array"});
  expect_contains(error_of_member(npy("{'descr': [('a', '<f8')], "
                                      "'fortran_order': False, 'shape': (1,)}",
                                      std::string(8, 0))),
                  {"structured"});
}

TEST(Npz, RefusesIntegersBeyondDouble)
{
  const std::int64_t large = (std::int64_t(1) << 53) + 1;
  for (const std::int64_t value : {large, -large})
    expect_contains(error_of_member(npy(dictionary("<i8", "(2,)"),
                                        bytes<std::int64_t>({0, value}))),
                    {"2^53", "entry 1"});
  error_of_member(
    npy(dictionary("<u8", "(1,)"), bytes<std::uint64_t>({~std::uint64_t(0)})));
}

TEST(Npz, RefusesBadHeaders)
{
  const std::string data(48, '\0');
  for (const std::string header :
       {"hello",
        "{",
        "{'descr': '<f8",
        "{'descr': '<f8', }",
        "{'descr': '<f8', 'fortran_order': maybe, 'shape': (6,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-6,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 6}"})
    expect_contains(error_of_member(npy(header, data)), {"header"});
  expect_contains(error_of_member("hello world, no array"), {"magic"});
  expect_contains(error_of_member(""), {"magic"});
  expect_contains(error_of_member(npy(dictionary("<f8", "(6,)"), data, 4)),
                  {"version 4"});
  std::string huge = npy(dictionary("<f8", "(6,)"), data, 2);
  huge[11]         = '\x7f';
  expect_contains(error_of_member(huge), {"header length"});
}

TEST(Npz, RefusesShapesThatDoNotMatch)
{
  const std::string data(48, '\0');
  for (const std::string shape : {"(5,)",
                                  "(7,)",
                                  "(100000000000, 3)",
                                  "(4294967296, 4294967296, 3)",
                                  "(99999999999999999999,)"})
    expect_contains(error_of_member(npy(dictionary("<f8", shape), data)),
                    {"shape"});
}

TEST(Npz, RefusesWhatIsNoSoundZip)
{
  Folder            folder;
  const std::string file  = folder / "a.npz";
  const auto        check = [&](const std::string &part) {
    expect_contains(error_of([&]() { read_npz(file); }), {file, part});
  };
  check("no such file");
  write_text(file, "");
  check("empty");
  write_text(file, "this is no zip archive at all, not even a bit");
  check("not a zip");
  fs::create_directory(folder / "b.npz");
  expect_contains(error_of([&]() { read_npz(folder / "b.npz"); }), {"folder"});

  write_npz(file, pack3());
  const std::string whole = read_text(file);
  write_text(file, whole.substr(0, whole.size() / 2));
  check("truncated");

  // A flipped byte in the data is found by the checksum.
  fs::remove(file);
  const std::string member =
    npy(dictionary("<f8", "(2,)"), bytes<double>({1, 2}));
  write_zip(file, {{"x.npy", member}});
  std::string damaged = read_text(file);
  damaged[damaged.find(member) + member.size() - 3] ^= 1;
  write_text(file, damaged);
  check("key 'x'");
}



TEST(CasePack, ReadsTheLeast)
{
  Folder folder;
  write_npz(folder / "a.npz", pack3());
  EXPECT_EQ(mesh_dimension(folder / "a.npz"), 3);
  const auto data = read_case<3>(folder / "a.npz", 1.);
  expect_two_tets(data);
  EXPECT_EQ(data.mesh.labels, (std::vector<int>{0, 0}));
  EXPECT_TRUE(data.arrays.empty());
  EXPECT_TRUE(data.notes.empty());
  EXPECT_EQ(data.source, folder / "a.npz");
}

namespace
{
  /// volume, r_vol, and r_axis and r_shear of the coordinate axes, for the mesh
  /// of a pack.
  template <int dim>
  void
  add_rows(NpzArrays &pack, const std::string &cell_key = "tetrahedra")
  {
    const auto            &points = pack.at("mesh_points").values;
    const auto            &cells  = pack.at(cell_key).values;
    const std::size_t      M      = cells.size() / (dim + 1);
    constexpr unsigned int n = dim * (dim + 1), planes = dim * (dim - 1) / 2;
    auto                   volume = constant({M}), vol = constant({M, n}, 0.),
         axial = constant({M, dim, n}, 0.),
         shear = constant({M, planes, n}, 0.);
    for (std::size_t k = 0; k < M; ++k)
      {
        const auto at = [&](const unsigned int a, const unsigned int d) {
          return points[cells[k * (dim + 1) + a] * dim + d];
        };
        dealii::Tensor<2, dim> J;
        for (unsigned int i = 0; i < dim; ++i)
          for (unsigned int j = 0; j < dim; ++j)
            J[i][j] = at(j + 1, i) - at(0, i);
        volume.values[k]   = std::abs(determinant(J)) / (dim == 3 ? 6. : 2.);
        const auto inverse = invert(J);
        for (unsigned int a = 0; a < dim + 1; ++a)
          {
            dealii::Tensor<1, dim> g;
            for (unsigned int b = 0; b < dim; ++b)
              if (a == 0)
                g -= inverse[b];
              else if (b + 1 == a)
                g = inverse[b];
            unsigned int pair = 0;
            for (unsigned int l = 0; l < dim; ++l)
              {
                vol.values[k * n + a * dim + l]               = g[l];
                axial.values[(k * dim + l) * n + a * dim + l] = g[l];
                for (unsigned int m = l + 1; m < dim; ++m, ++pair)
                  {
                    const auto at        = (k * planes + pair) * n + a * dim;
                    shear.values[at + l] = 0.5 * g[m];
                    shear.values[at + m] = 0.5 * g[l];
                  }
              }
          }
      }
    pack["volume"]  = volume;
    pack["r_vol"]   = vol;
    pack["r_axis"]  = axial;
    pack["r_shear"] = shear;
  }
} // namespace

TEST(CasePack, RefusesArraysThatDoNotFitTheMesh)
{
  Folder folder;
  auto   pack = pack3();
  add_rows<3>(pack);
  pack["tet_neighbor_indices"] = NpyArray::integers({2}, {1, 0});
  pack["tet_neighbor_offsets"] = NpyArray::integers({3}, {0, 1, 2});
  write_npz(folder / "good.npz", pack);
  read_case<3>(folder / "good.npz", 1.);
  for (const char *key : {"volume", "r_vol", "r_axis", "r_shear"})
    {
      auto  wrong = pack;
      auto &v     = wrong[key].values;
      for (std::size_t i = v.size() / 2; i < v.size(); ++i)
        v[i] *= 1.01; // cell 1
      write_npz(folder / "a.npz", wrong);
      expect_error(folder / "a.npz", {key, "cell 1", "does not fit the mesh"});
    }
  auto alone                    = pack;
  alone["tet_neighbor_indices"] = NpyArray::integers({1}, {1});
  alone["tet_neighbor_offsets"] = NpyArray::integers({3}, {0, 1, 1});
  write_npz(folder / "a.npz", alone);
  expect_error(folder / "a.npz",
               {"tet_neighbor_indices", "cell 1", "1 cells that share a face"});
}

TEST(CasePack, ReadsAndScalesEveryKey)
{
  Folder folder;
  auto   pack                = pack3();
  pack["labels"]             = NpyArray({2}, {1., 2.});
  pack["boundary_nodes"]     = NpyArray({5}, {0, 1, 0, 1, 1});
  pack["displacement_steps"] = constant({2, 5, 3}, 3.);
  pack["displacement_field"] = constant({5, 3}, 2.);
  add_rows<3>(pack);
  pack["mass"]                 = constant({5});
  pack["hu_tetra_steps"]       = constant({3, 2, 1}, -800);
  pack["hu_tetra_mean"]        = constant({2}, -800);
  pack["tet_neighbor_indices"] = NpyArray::integers({2}, {1, 0});
  pack["tet_neighbor_offsets"] = NpyArray::integers({3}, {0, 1, 2});
  pack["anisotropy_axes"]      = identities({2, 2, 3, 3});
  pack["alpha_k"]              = constant({2}, 6.);
  pack["density"]              = constant({2}, 7.);
  pack["spring_stiffness"]     = constant({2, 3}, 8.);
  pack["rest_length"]          = constant({2, 3}, 8.);
  pack["observation_weight"]   = constant({5});
  pack["surprise"]             = constant({1});
  write_npz(folder / "a.npz", pack);

  const auto data = read_case<3>(folder / "a.npz", 0.5);
  expect_two_tets(data, 0.5);
  EXPECT_EQ(data.mesh.labels, (std::vector<int>{1, 2}));
  EXPECT_EQ(data.arrays.size(), 17u);
  const auto value = [&](const std::string &key) {
    return data.arrays.at(key).values.at(0);
  };
  EXPECT_EQ(data.arrays.count("displacement_field"), 0u);
  EXPECT_EQ(value("displacement_steps"), 1.5);
  EXPECT_EQ(value("rest_length"), 4.);
  EXPECT_EQ(value("volume"), pack.at("volume").values[0] / 8);
  for (const char *key : {"r_axis", "r_shear", "r_vol"})
    EXPECT_EQ(value(key), 2 * pack.at(key).values[0]) << key;
  EXPECT_EQ(value("alpha_k"), 6.);
  EXPECT_EQ(value("spring_stiffness"), 8.);
  EXPECT_EQ(data.arrays.at("hu_tetra_mean").shape_string(), "(2, 1)");
  ASSERT_EQ(data.notes.size(), 2u);
  expect_contains(data.notes[0], {"unknown key 'surprise'"});
  expect_contains(data.notes[1], {"displacement_steps"});
}

TEST(CasePack, ReadsTriangles)
{
  for (const char *key : {"triangles", "tetrahedra"})
    {
      Folder    folder;
      NpzArrays pack{{"mesh_points",
                      NpyArray({4, 2}, {0, 0, 1, 0, 0, 1, 1, 1})},
                     {key, NpyArray::integers({2, 3}, {0, 1, 2, 1, 3, 2})},
                     {"anisotropy_axes", identities({2, 2, 2})}};
      add_rows<2>(pack, key);
      write_npz(folder / "a.npz", pack);
      EXPECT_EQ(mesh_dimension(folder / "a.npz"), 2);
      const auto data = read_case<2>(folder / "a.npz", 2.);
      EXPECT_EQ(data.mesh.vertices[3], dealii::Point<2>(2, 2));
      EXPECT_EQ(data.mesh.cells[1], (std::array<unsigned int, 3>{{1, 3, 2}}));
      expect_error<3>(folder / "a.npz",
                      {"mesh_points", "(4, 2)", "expected (N, 3)"});
      expect_refused<2>("r_axis",
                        constant({2, 3, 12}),
                        {"(2, 3, 12)", "(M, 2, 6)"},
                        pack);
    }
}

TEST(CasePack, RefusesMissingOrBadMesh)
{
  Folder folder;
  for (const std::string key : {"mesh_points", "tetrahedra"})
    {
      auto pack = pack3();
      pack.erase(key);
      write_npz(folder / "a.npz", pack);
      expect_error(folder / "a.npz", {"'" + key + "'", "missing"});
    }
  expect_contains(error_of([&]() {
                    write_npz(folder / "b.npz", {});
                    mesh_dimension(folder / "b.npz");
                  }),
                  {"mesh_points"});

  auto nan         = NpyArray({5, 3}, points3);
  nan.values[7]    = std::nan("");
  const auto cells = [](const std::vector<std::int64_t> &v) {
    return NpyArray::integers({v.size() / 4, 4}, v);
  };
  const std::string tets = "tetrahedra";
  expect_refused("mesh_points", nan, {"nan", "[2, 1]"});
  expect_refused("mesh_points", constant({0, 3}), {"no vertices"});
  expect_refused("mesh_points", constant({5}), {"(5,)"});
  expect_refused(tets, NpyArray({2, 4}, Reals(8)), {"integer type"});
  expect_refused(tets, NpyArray::integers({1, 3}, {0, 1, 2}), {"(1, 3)"});
  expect_refused(tets,
                 cells({0, 1, 2, 3, 1, 2, 3, 5}),
                 {"cell 1", "index 5", "0 to 4"});
  expect_refused(tets,
                 cells({0, 1, 2, 3, 1, 2, 3, -1}),
                 {"cell 1", "index -1", "0 to 4"});
}

TEST(CasePack, RefusesBadTopology)
{
  const auto check = [](const std::vector<std::int64_t> &v,
                        const std::vector<std::string>  &parts) {
    Folder folder;
    auto   pack        = pack3();
    pack["tetrahedra"] = NpyArray::integers({v.size() / 4, 4}, v);
    write_npz(folder / "a.npz", pack);
    expect_error(folder / "a.npz", parts);
  };
  check({0, 1, 2, 3, 1, 2, 4, 4}, {"cell 1", "vertex 4 twice"});
  check({0, 1, 2, 3, 1, 2, 3, 4, 3, 0, 1, 2}, {"cells 0 and 2"});
  check({0, 1, 2, 4}, {"vertex 3", "no cell", "1 such"});
  check({}, {"no cells"});
}

TEST(CasePack, RefusesBadShapes)
{
  const std::vector<std::pair<std::string, std::vector<std::size_t>>> shapes = {
    {"labels", {3}},
    {"boundary_nodes", {4}},
    {"displacement_field", {5, 2}},
    {"displacement_steps", {5, 3}},
    {"displacement_steps", {0, 5, 3}},
    {"volume", {2, 1}},
    {"mass", {2}},
    {"hu_tetra_steps", {2, 1}},
    {"hu_tetra_mean", {1, 2}},
    {"r_axis", {2, 3, 4}},
    {"r_shear", {2, 12, 3}},
    {"r_vol", {2, 3, 12}},
    {"anisotropy_axes", {3, 3}},
    {"alpha_k", {}},
    {"density", {5}},
    {"spring_stiffness", {2}},
    {"observation_weight", {5, 3}}};
  for (const auto &s : shapes)
    {
      const NpyArray array = constant(s.second, 1.);
      expect_refused(s.first, array, {array.shape_string()});
    }
}

TEST(CasePack, RefusesBadValues)
{
  const double nan = std::nan(""),
               inf = std::numeric_limits<double>::infinity();
  expect_refused("labels", NpyArray({2}, {1, 1.5}), {"1.5", "[1]"});
  expect_refused("labels", NpyArray({2}, {nan, 1}), {"nan", "[0]"});
  expect_refused("labels", NpyArray({2}, {1e12, 1}), {"1e+12"});
  expect_refused("boundary_nodes",
                 NpyArray::integers({5}, {0, 1, 2, 0, 0}),
                 {"value 2", "[2]", "0 or 1"});
  for (const char *key : {"volume", "alpha_k", "density"})
    {
      expect_refused(key, NpyArray({2}, {1, 0}), {"value 0", "[1]"});
      expect_refused(key, NpyArray({2}, {-1, 1}), {"value -1", "[0]"});
      expect_refused(key, NpyArray({2}, {1, inf}), {"inf", "[1]"});
    }
  for (const char *key : {"mass", "observation_weight"})
    expect_refused(key, NpyArray({5}, {0, 0, 0, -2, 0}), {"-2", "[3]"});
  expect_refused("spring_stiffness", constant({2, 3}), {"[0, 0]"});
  for (const char *key : {"r_axis", "r_shear"})
    expect_refused(key, constant({2, 3, 12}, nan), {"[0, 0, 0]"});
  expect_refused("displacement_field", constant({5, 3}, inf), {"inf"});
  expect_refused("hu_tetra_mean", constant({2, 1}, nan), {"nan"});
}

TEST(CasePack, RefusesAxesThatAreNotOrthonormal)
{
  auto axes = identities({2, 3, 3});
  axes.values[9 + 4] += 1e-5;
  expect_refused("anisotropy_axes", axes, {"cell 1", "orthonormal"});
  auto steps = identities({3, 2, 3, 3});
  steps.values[9 * 4 + 1] += 1e-2;
  expect_refused("anisotropy_axes", steps, {"cell 0 in step 2"});
}

TEST(CasePack, RefusesBadNeighbors)
{
  const std::string indices = "tet_neighbor_indices",
                    offsets = "tet_neighbor_offsets";
  const auto with           = [&](const std::vector<std::int64_t> &i,
                        const std::vector<std::int64_t> &o,
                        const std::string               &key,
                        const std::string               &part) {
    auto pack     = pack3();
    pack[indices] = NpyArray::integers({i.size()}, i);
    pack[offsets] = NpyArray::integers({o.size()}, o);
    expect_refused(key, pack[key], {part}, pack);
  };
  with({1, 2}, {0, 1, 2}, indices, "value 2 at [1]");
  with({1, -1}, {0, 1, 2}, indices, "value -1 at [1]");
  with({1, 0}, {0, 2, 1}, offsets, "decreases at [2]");
  with({1, 0}, {1, 1, 2}, offsets, "[0]");
  with({1, 0}, {0, 1, 1}, offsets, "number of neighbor indices, 2");
  with({1, 0}, {0, 2}, offsets, "(2,)");
  expect_refused(indices, NpyArray({2}, {1., 0.}), {"integer type"});
  expect_refused(indices,
                 NpyArray::integers({2}, {1, 0}),
                 {offsets, "missing"});
}

TEST(CasePack, RefusesStepsThatDisagree)
{
  auto pack                  = pack3();
  pack["displacement_steps"] = constant({2, 5, 3});
  expect_refused("anisotropy_axes",
                 identities({3, 2, 3, 3}),
                 {"3 steps", "expected 2"},
                 pack);
  expect_refused("hu_tetra_steps",
                 constant({4, 2, 1}),
                 {"4 phases", "2 or 3"},
                 pack);
}

TEST(ReadCase, RefusesFilesOfOtherKinds)
{
  Folder folder;
  write_text(folder / "a.stl", "solid");
  expect_error(folder / "a.stl", {".stl", ".npz"});
  for (const std::string name : {"no.npz", "no.msh", "no.vtk", "no.vtu"})
    {
      expect_error(folder / name, {"no such file"});
      error_of([&]() { mesh_dimension(folder / name); });
    }
  write_npz(folder / "a.npz", pack3());
  for (const double unit : {0., -1., std::nan("")})
    error_of([&]() { read_case<3>(folder / "a.npz", unit); });
}

TEST(ValidateCase, RefusesBadMeshes)
{
  CaseData<3> data;
  data.source        = "here";
  const auto message = [&]() {
    return error_of([&]() { validate_case(data); });
  };
  expect_contains(message(), {"here", "no vertices"});
  for (unsigned int v = 0; v < 4; ++v)
    data.mesh.vertices.emplace_back(v == 1, v == 2, v == 3);
  expect_contains(message(), {"here", "no cells"});
  data.mesh.cells  = {{{0, 1, 2, 7}}};
  data.mesh.labels = {0};
  expect_contains(message(), {"cell 0", "7", "0 to 3"});
  data.mesh.cells = {{{0, 1, 2, 3}}};
  validate_case(data);
  data.mesh.vertices[2][1] = std::nan("");
  expect_contains(message(), {"vertex 2", "nan"});
  data.mesh.vertices[2][1] = 1;
  data.mesh.labels         = {};
  expect_contains(message(), {"0 labels"});
}



namespace
{
  struct GmshOptions
  {
    double version      = 4.1;
    bool   binary       = false;
    bool   groups       = true;
    bool   second_group = false;
  };

  /// Two tetrahedra in volumes of group 11 and 12, a face on the surface of
  /// group 21, an interior one of group 22, and a node without cells.
  void
  write_gmsh(const std::string &filename, const GmshOptions &options)
  {
    GmshSession session;
    gmsh::model::add("two");
    for (const int tag : {1, 2})
      {
        gmsh::model::addDiscreteEntity(2, tag);
        gmsh::model::addDiscreteEntity(3, tag, {tag});
      }
    gmsh::model::addDiscreteEntity(0, 9);
    gmsh::model::mesh::addNodes(3, 1, {1, 2, 3, 4, 5}, points3);
    gmsh::model::mesh::addNodes(0, 9, {77}, {9, 9, 9});
    gmsh::model::mesh::addElementsByType(9, 15, {900}, {77});
    gmsh::model::mesh::addElementsByType(1, 2, {1}, {1, 2, 3});
    gmsh::model::mesh::addElementsByType(2, 2, {2}, {2, 3, 4});
    gmsh::model::mesh::addElementsByType(1, 4, {3}, {1, 2, 3, 4});
    gmsh::model::mesh::addElementsByType(2, 4, {4}, {2, 3, 4, 5});
    if (options.groups)
      for (const int tag : {1, 2})
        {
          gmsh::model::addPhysicalGroup(2, {tag}, 20 + tag);
          gmsh::model::addPhysicalGroup(3, {tag}, 10 + tag);
        }
    if (options.second_group)
      gmsh::model::addPhysicalGroup(3, {1, 2}, 30);
    gmsh::option::setNumber("Mesh.SaveAll", options.second_group ? 0 : 1);
    gmsh::option::setNumber("Mesh.MshFileVersion", options.version);
    gmsh::option::setNumber("Mesh.Binary", options.binary ? 1 : 0);
    gmsh::write(filename);
  }
} // namespace

TEST(Gmsh, ReadsVersionsAndEncodings)
{
  for (const double version : {2.2, 4.1})
    for (const bool binary : {false, true})
      {
        SCOPED_TRACE(std::to_string(version) + (binary ? " binary" : ""));
        Folder      folder;
        GmshOptions options;
        options.version = version;
        options.binary  = binary;
        // Without groups in the file, Gmsh 2.2 keeps all; with groups and
        // SaveAll it drops them, so both are written.
        write_gmsh(folder / "plain.msh", options);
        EXPECT_EQ(mesh_dimension(folder / "plain.msh"), 3);
        expect_two_tets(read_case<3>(folder / "plain.msh", 0.001), 0.001);
      }
}

TEST(Gmsh, ReadsPhysicalGroups)
{
  for (const double version : {2.2, 4.1})
    for (const bool binary : {false, true})
      {
        SCOPED_TRACE(std::to_string(version) + (binary ? " binary" : ""));
        Folder            folder;
        const std::string file = folder / "a.msh";
        {
          GmshOptions options;
          options.version = version;
          options.binary  = binary;
          write_gmsh(file, options);
        }
        if (version < 3)
          {
            // SaveAll loses the groups of version 2: save only groups.
            GmshSession session;
            write_gmsh(folder / "full.msh", {4.1, false, true, false});
            gmsh::open(folder / "full.msh");
            gmsh::option::setNumber("Mesh.SaveAll", 0);
            gmsh::option::setNumber("Mesh.MshFileVersion", version);
            gmsh::option::setNumber("Mesh.Binary", binary ? 1 : 0);
            gmsh::write(file);
          }
        const auto data = read_case<3>(file, 1.);
        expect_two_tets(data);
        EXPECT_EQ(data.mesh.labels, (std::vector<int>{11, 12}));
        ASSERT_EQ(data.mesh.boundary_faces.size(), 1u);
        EXPECT_EQ(data.mesh.boundary_faces[0].id, 21u);
        EXPECT_EQ(data.mesh.boundary_faces[0].vertices,
                  (std::array<unsigned int, 3>{{0, 1, 2}}));
        std::string notes;
        for (const auto &note : data.notes)
          notes += note + "; ";
        expect_contains(notes, {"1 interior face"});
        if (version > 3)
          expect_contains(notes, {"1 nodes that belong to no cell"});
      }
}

TEST(Gmsh, RefusesACellInTwoVolumes)
{
  for (const double version : {2.2, 4.1})
    {
      SCOPED_TRACE(std::to_string(version));
      Folder folder;
      write_gmsh(folder / "a.msh", {version, false, true, true});
      expect_error(folder / "a.msh",
                   {"element", "physical volumes 11", " and 30", "label"});
    }
}

namespace
{
  using Boundary = std::vector<std::pair<std::array<int, 3>, unsigned int>>;

  /// Faces with their ids, vertices and all ascending.
  Boundary
  boundary_of(const CaseData<3> &data)
  {
    Boundary result;
    for (const auto &face : data.mesh.boundary_faces)
      {
        std::array<int, 3> v;
        std::copy(face.vertices.begin(), face.vertices.end(), v.begin());
        std::sort(v.begin(), v.end());
        result.emplace_back(v, face.id);
      }
    std::sort(result.begin(), result.end());
    return result;
  }

  /// The two tetrahedra (nodes 1 to 5) in version 2.2, with other elements
  /// "type group entity nodes" in front.
  std::string
  gmsh_2(const std::vector<std::string> &elements)
  {
    std::ostringstream out;
    out << "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n5\n";
    for (unsigned int v = 0; v < 5; ++v)
      out << v + 1 << " " << points3[3 * v] << " " << points3[3 * v + 1] << " "
          << points3[3 * v + 2] << "\n";
    out << "$EndNodes\n$Elements\n" << elements.size() << "\n";
    for (std::size_t e = 0; e < elements.size(); ++e)
      {
        const auto space = elements[e].find(' ');
        out << e + 1 << " " << elements[e].substr(0, space) << " 2"
            << elements[e].substr(space) << "\n";
      }
    out << "$EndElements\n";
    return out.str();
  }
} // namespace

TEST(Gmsh, AFaceHasAllItsGroups)
{
  const Boundary expected = {{{{0, 1, 2}}, 7}, {{{0, 1, 2}}, 21}};
  Folder         folder;
  {
    // An entity in two groups.
    GmshSession session;
    gmsh::model::add("two");
    gmsh::model::addDiscreteEntity(2, 1);
    gmsh::model::addDiscreteEntity(3, 1, {1});
    gmsh::model::mesh::addNodes(3, 1, {1, 2, 3, 4, 5}, points3);
    gmsh::model::mesh::addElementsByType(1, 2, {1}, {1, 2, 3});
    gmsh::model::mesh::addElementsByType(1,
                                         4,
                                         {3, 4},
                                         {1, 2, 3, 4, 2, 3, 4, 5});
    gmsh::model::addPhysicalGroup(2, {1}, 21);
    gmsh::model::addPhysicalGroup(2, {1}, 7);
    gmsh::model::addPhysicalGroup(3, {1}, 3);
    gmsh::option::setNumber("Mesh.SaveAll", 0);
    for (const double version : {2.2, 4.1})
      for (const bool binary : {false, true})
        {
          gmsh::option::setNumber("Mesh.MshFileVersion", version);
          gmsh::option::setNumber("Mesh.Binary", binary ? 1 : 0);
          gmsh::write(folder / (std::to_string(version) +
                                (binary ? "binary.msh" : "text.msh")));
        }
  }
  for (const auto &file :
       {"2.200000text", "2.200000binary", "4.100000text", "4.100000binary"})
    {
      SCOPED_TRACE(file);
      const auto data = read_case<3>(folder / (file + std::string(".msh")), 1.);
      expect_two_tets(data);
      EXPECT_EQ(boundary_of(data), expected);
      EXPECT_EQ(data.mesh.labels, (std::vector<int>{3, 3}));
      std::string notes;
      for (const auto &note : data.notes)
        notes += note + "; ";
      expect_contains(notes, {"1 faces have several boundary ids"});
    }
  // Listed for two entities, and a second time, turned, for the same.
  const std::string file = folder / "a.msh";
  write_text(file,
             gmsh_2({"2 21 21 1 2 3",
                     "2 7 7 2 1 3",
                     "2 21 21 3 2 1",
                     "4 3 1 1 2 3 4",
                     "4 3 1 2 3 4 5"}));
  EXPECT_EQ(boundary_of(read_case<3>(file, 1.)), expected);
}

// Other programs put elements of all groups into one entity, or use an
// entity's number for something else.
TEST(Gmsh, GroupsOfVersion2AreThoseOfTheElements)
{
  Folder            folder;
  const std::string file = folder / "a.msh";
  write_text(file,
             gmsh_2({"2 5 1 1 2 3",
                     "2 6 1 1 2 4",
                     "2 -8 1 1 3 4",
                     "2 0 1 2 3 5",
                     "4 11 1 1 2 3 4",
                     "4 12 1 2 3 4 5"}));
  const auto data = read_case<3>(file, 1.);
  expect_two_tets(data);
  EXPECT_EQ(data.mesh.labels, (std::vector<int>{11, 12}));
  EXPECT_EQ(boundary_of(data),
            (Boundary{{{{0, 1, 2}}, 5}, {{{0, 1, 3}}, 6}, {{{0, 2, 3}}, 8}}));
  // A cell in two groups, whatever the entities; a cell twice in one.
  for (const char *entities : {"1 1", "1 2"})
    {
      const std::string first(1, entities[0]), second(1, entities[2]);
      write_text(file,
                 gmsh_2({"4 11 " + first + " 1 2 3 4",
                         "4 12 " + second + " 1 2 3 4",
                         "4 12 " + second + " 2 3 4 5"}));
      expect_error(file, {"physical volumes 11 and 12", "label"});
      write_text(file,
                 gmsh_2({"4 11 " + first + " 1 2 3 4",
                         "4 11 " + second + " 1 2 3 4",
                         "4 12 " + second + " 2 3 4 5"}));
      expect_error(file, {"have the same vertices"});
    }
}

TEST(Gmsh, ReadsTriangles)
{
  Folder folder;
  {
    GmshSession session;
    gmsh::model::add("flat");
    gmsh::model::addDiscreteEntity(1, 1);
    gmsh::model::addDiscreteEntity(2, 1, {1});
    gmsh::model::mesh::addNodes(2,
                                1,
                                {1, 2, 3, 4},
                                {0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0});
    gmsh::model::mesh::addElementsByType(1, 1, {1, 2}, {1, 2, 2, 3});
    gmsh::model::mesh::addElementsByType(1, 2, {3, 4}, {1, 2, 3, 2, 4, 3});
    gmsh::model::addPhysicalGroup(1, {1}, 5);
    gmsh::model::addPhysicalGroup(2, {1}, 6);
    gmsh::write(folder / "a.msh");
  }
  EXPECT_EQ(mesh_dimension(folder / "a.msh"), 2);
  const auto data = read_case<2>(folder / "a.msh", 1.);
  EXPECT_EQ(data.mesh.vertices.size(), 4u);
  EXPECT_EQ(data.mesh.labels, (std::vector<int>{6, 6}));
  ASSERT_EQ(data.mesh.boundary_faces.size(), 1u);
  EXPECT_EQ(data.mesh.boundary_faces[0].id, 5u);
  expect_error<3>(folder / "a.msh", {"no vertices"});
}

TEST(Gmsh, RefusesOtherElementsByName)
{
  const auto write =
    [](const std::string &file, const int type, const std::size_t n) {
      GmshSession session;
      gmsh::model::add("other");
      gmsh::model::addDiscreteEntity(3, 1);
      std::vector<std::size_t> tags(n);
      std::vector<double>      xyz(3 * n);
      for (std::size_t i = 0; i < n; ++i)
        {
          tags[i]    = i + 1;
          xyz[3 * i] = i;
        }
      gmsh::model::mesh::addNodes(3, 1, tags, xyz);
      gmsh::model::mesh::addElementsByType(1, type, {8}, tags);
      gmsh::write(file);
    };
  Folder                                                       folder;
  const std::vector<std::tuple<int, std::size_t, std::string>> types = {
    {5, 8, "Hex"}, {6, 6, "Prism"}, {7, 5, "Pyramid"}, {11, 10, "Tetra"}};
  for (const auto &type : types)
    {
      write(folder / "a.msh", std::get<0>(type), std::get<1>(type));
      expect_error(folder / "a.msh", {std::get<2>(type), "linear tetrahedra"});
    }
}

TEST(Gmsh, RefusesBadFiles)
{
  Folder            folder;
  const std::string file = folder / "a.msh";
  write_text(file, "");
  expect_error(file, {"$MeshFormat"});
  write_text(file, "SystemCall \"touch /tmp/palpate_was_here\";");
  expect_error(file, {"$MeshFormat"});
  write_text(file, "$MeshFormat\n9.9 0 8\n$EndMeshFormat\n");
  expect_error(file, {"9.9"});
  write_text(file,
             "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n0\n$EndNodes\n"
             "$Elements\n0\n$EndElements\n");
  expect_error(file, {"no elements"});
  write_text(file,
             "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n99999999999\n"
             "$EndNodes\n$Elements\n0\n$EndElements\n");
  expect_error(file, {"count", "$Nodes"});
  write_text(file,
             "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n1\n1 0 0 0\n"
             "$EndNodes\n$Elements\n1\n1 4 2 0 1 1 2 3 4\n$EndElements\n");
  expect_error(file, {});

  const std::string tail =
    "$EndNodes\n$Elements\n1\n1 4 2 0 1 1 2 3 4\n$EndElements\n";
  const std::string head = "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n4\n"
                           "1 0 0 0\n2 1 0 0\n3 0 1 0\n";
  write_text(file, head + "4 0 0 1\n" + tail);
  EXPECT_EQ(read_case<3>(file, 1.).mesh.cells.size(), 1u);
  write_text(file, head + "4 0 0 1\n5 1 1 1\n" + tail);
  expect_error(file, {"$Nodes", "more than it announces"});
  write_text(file, head + "3 0 0 1\n" + tail);
  expect_error(file, {"node number 3 twice"});
  write_text(file, head + "4 0 0 1\n" + replaced(tail, "3 4", "3 5"));
  expect_error(file, {"element 1", "unknown node 5"});
  write_text(file, head + "4 0\n" + tail);
  expect_error(file, {"$Nodes", "ends early"});
  // Numbers that overflow: of an element, a group, an entity, a node.
  for (const char *wrong : {"3000000000 4 2 0 1 1 2 3 4",
                            "1 4 2 -3000000000 1 1 2 3 4",
                            "1 4 2 0 3000000000 1 2 3 4",
                            "1 4 2 0 1 1 2 3 3000000000"})
    {
      write_text(file,
                 head + "4 0 0 1\n" +
                   replaced(tail, "1 4 2 0 1 1 2 3 4", wrong));
      expect_error(file, {"$Elements", "3000000000", "2147483647"});
    }

  for (const double version : {2.2, 4.1})
    for (const bool binary : {false, true})
      {
        write_gmsh(file, {version, binary, true, false});
        const std::string whole = read_text(file);
        for (const double share : {0.1, 0.3, 0.6, 0.95})
          {
            write_text(
              file,
              whole.substr(0, static_cast<std::size_t>(share * whole.size())));
            expect_error(file, {});
          }
      }
}



namespace
{
  std::string
  base64(const std::string &data)
  {
    const std::string alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string result;
    for (std::size_t i = 0; i < data.size(); i += 3)
      {
        unsigned int group = 0;
        for (std::size_t j = 0; j < 3; ++j)
          group =
            256 * group +
            (i + j < data.size() ? static_cast<unsigned char>(data[i + j]) : 0);
        for (std::size_t j = 0; j < 4; ++j)
          result +=
            i + j > data.size() ? '=' : alphabet[(group >> (18 - 6 * j)) & 63];
      }
    return result;
  }

  template <typename T>
  std::string
  text_of(const std::vector<T> &values)
  {
    std::ostringstream out;
    out << std::setprecision(17);
    for (const T &value : values)
      out << +value << ' ';
    return out.str() + "\n";
  }

  // Two tetrahedra, a boundary triangle, an interior one, and a line.
  const std::vector<std::int64_t> connectivity =
    {0, 1, 2, 3, 1, 2, 3, 4, 0, 1, 2, 1, 2, 3, 0, 1};
  const std::vector<std::int64_t> ends   = {4, 8, 11, 14, 16};
  const std::vector<int>          types  = {10, 10, 5, 5, 3};
  const std::vector<int>          labels = {3, 4, 5, 6, 7};

  /// Displacement (i, i + 1, i + 2) at entry i of 15.
  const Reals displacement = {0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6};

  void
  expect_vtk_content(const CaseData<3> &data)
  {
    expect_two_tets(data);
    EXPECT_EQ(data.mesh.labels, (std::vector<int>{3, 4}));
    ASSERT_EQ(data.mesh.boundary_faces.size(), 1u);
    EXPECT_EQ(data.mesh.boundary_faces[0].id, 5u);
    // What the labels are is said where they are not called labels.
    std::string notes;
    for (const auto &note : data.notes)
      if (note.find("labels are '") == std::string::npos)
        notes += note + ";";
    EXPECT_EQ(std::count(notes.begin(), notes.end(), ';'), 2) << notes;
    expect_contains(notes, {"1 cells of lower dimension", "1 interior faces"});
    ASSERT_EQ(data.arrays.count("displacement_field"), 1u);
    EXPECT_EQ(data.arrays.at("displacement_field").values, displacement);
    EXPECT_EQ(data.arrays.at("displacement_field").shape_string(), "(5, 3)");
  }

  /// Legacy file of version 2.0 (old layout) or 5.1.
  std::string
  legacy(const bool         binary,
         const bool         new_layout,
         const std::string &label_name,
         const bool         as_field)
  {
    std::ostringstream out;
    const auto         put = [&](const auto &values) {
      out << (binary ? bytes(values, true) + "\n" : text_of(values));
    };
    out << "# vtk DataFile Version " << (new_layout ? "5.1" : "2.0")
        << "\na title\n"
        << (binary ? "BINARY" : "ASCII") << "\nDATASET UNSTRUCTURED_GRID\n"
        << "FIELD FieldData 1\nTIME 1 1 double\n";
    put(Reals{0.5});
    out << "POINTS 5 double\n";
    put(points3);
    if (new_layout)
      {
        out << "METADATA\nINFORMATION 1\nNAME X LOCATION Y\nDATA 1\n\n";
        out << "CELLS 6 16\nOFFSETS vtktypeint64\n";
        std::vector<std::int64_t> offsets = {0};
        offsets.insert(offsets.end(), ends.begin(), ends.end());
        put(offsets);
        out << "CONNECTIVITY vtktypeint64\n";
        put(connectivity);
      }
    else
      {
        out << "\nCELLS 5 21\n";
        std::vector<int> mixed;
        std::int64_t     begin = 0;
        for (const std::int64_t end : ends)
          {
            mixed.push_back(static_cast<int>(end - begin));
            for (; begin < end; ++begin)
              mixed.push_back(static_cast<int>(connectivity[begin]));
          }
        put(mixed);
      }
    out << "\nCELL_TYPES 5\n";
    put(types);
    out << "CELL_DATA 5\n";
    if (as_field)
      {
        out << "FIELD FieldData 2\nother 2 5 float\n";
        put(std::vector<float>(10, 1.f));
        out << label_name << " 1 5 int\n";
      }
    else
      out << "SCALARS " << label_name << " int 1\nLOOKUP_TABLE default\n";
    put(labels);
    out << "POINT_DATA 5\nSCALARS s float\nLOOKUP_TABLE default\n";
    put(std::vector<float>(5, 2.f));
    out << "VECTORS displacement double\n";
    put(displacement);
    return out.str();
  }

  struct VtuOptions
  {
    std::string format     = "ascii"; // or binary, appended
    std::string encoding   = "raw";   // or base64
    std::string header     = "UInt32";
    bool        compressed = false;
    bool        big_endian = false;
    std::string label_name = "labels";
  };

  /// Header and data as VTK writes them: header and blocks encoded apart.
  std::string
  vtu_data(const std::string &data, const VtuOptions &o)
  {
    const bool raw    = (o.format == "appended" && o.encoding == "raw");
    const auto header = [&](const std::vector<std::uint64_t> &values) {
      return o.header == "UInt64"
               ? bytes(values, o.big_endian)
               : bytes(std::vector<std::uint32_t>(values.begin(), values.end()),
                       o.big_endian);
    };
    if (!o.compressed)
      {
        const std::string all = header({data.size()}) + data;
        return raw ? all : base64(all);
      }
    const std::size_t          block = 32;
    std::vector<std::uint64_t> h     = {(data.size() + block - 1) / block,
                                        block,
                                        data.size() % block};
    std::string                blocks;
    for (std::size_t i = 0; i < data.size(); i += block)
      {
        const std::string part = data.substr(i, block);
        uLongf            size = compressBound(part.size());
        std::string       out(size, '\0');
        compress(reinterpret_cast<Bytef *>(&out[0]),
                 &size,
                 reinterpret_cast<const Bytef *>(part.data()),
                 part.size());
        blocks += out.substr(0, size);
        h.push_back(size);
      }
    return raw ? header(h) + blocks : base64(header(h)) + base64(blocks);
  }

  std::string
  vtu(const VtuOptions &o)
  {
    std::ostringstream out;
    std::string        appended;
    const auto         array = [&](const std::string &name,
                           const std::string &type,
                           const int          components,
                           const auto        &values) {
      out << "<DataArray type=\"" << type << "\" Name=\"" << name
          << "\" NumberOfComponents=\"" << components << "\" format=\""
          << o.format << "\"";
      const std::string data = vtu_data(bytes(values, o.big_endian), o);
      if (o.format == "appended")
        {
          out << " offset=\"" << appended.size() << "\"/>\n";
          appended += data;
        }
      else
        out << ">\n"
            << (o.format == "ascii" ? text_of(values) : data)
            << "\n</DataArray>\n";
    };
    out << "<?xml version=\"1.0\"?>\n<VTKFile type=\"UnstructuredGrid\" "
        << "version=\"1.0\" byte_order=\""
        << (o.big_endian ? "BigEndian" : "LittleEndian") << "\" header_type=\""
        << o.header << "\""
        << (o.compressed ? " compressor=\"vtkZLibDataCompressor\"" : "")
        << ">\n<UnstructuredGrid>\n<Piece NumberOfPoints=\"5\" "
        << "NumberOfCells=\"5\">\n<PointData>\n";
    array("displacement_field", "Float64", 3, displacement);
    array("unused", "Float32", 1, std::vector<float>(5, 1.f));
    out << "</PointData>\n<CellData>\n";
    array(o.label_name, "Int32", 1, labels);
    out << "</CellData>\n<Points>\n";
    array("Points", "Float64", 3, points3);
    out << "</Points>\n<Cells>\n";
    array("connectivity", "Int64", 1, connectivity);
    array("offsets", "Int64", 1, ends);
    array("types",
          "UInt8",
          1,
          std::vector<std::uint8_t>(types.begin(), types.end()));
    out << "</Cells>\n</Piece>\n</UnstructuredGrid>\n";
    if (o.format == "appended")
      out << "<AppendedData encoding=\"" << o.encoding << "\">\n_" << appended
          << "\n</AppendedData>\n";
    out << "</VTKFile>\n";
    return out.str();
  }
} // namespace

TEST(VtkLegacy, ReadsLayoutsAndEncodings)
{
  for (const bool binary : {false, true})
    for (const bool new_layout : {false, true})
      for (const bool as_field : {false, true})
        {
          SCOPED_TRACE(std::to_string(binary) + std::to_string(new_layout) +
                       std::to_string(as_field));
          Folder folder;
          write_text(folder / "a.vtk",
                     legacy(binary, new_layout, "labels", as_field));
          EXPECT_EQ(mesh_dimension(folder / "a.vtk"), 3);
          expect_vtk_content(read_case<3>(folder / "a.vtk", 1.));
        }
}

TEST(VtkLegacy, ReadsEveryLabelName)
{
  for (const std::string name : {"material_id",
                                 "MaterialID",
                                 "gmsh:physical",
                                 "gmsh%3aphysical",
                                 "CellEntityIds"})
    {
      Folder folder;
      write_text(folder / "a.vtk", legacy(false, false, name, true));
      expect_vtk_content(read_case<3>(folder / "a.vtk", 1.));
    }
}

TEST(VtkLegacy, ReadsTriangles)
{
  const std::string text =
    "# vtk DataFile Version 3.0\n\nASCII\nDATASET UNSTRUCTURED_GRID\n"
    "POINTS 4 float\n0 0 2 1 0 2 0 1 2 1 1 2\nCELLS 3 11\n3 0 1 2\n3 1 3 2\n"
    "2 0 1\nCELL_TYPES 3\n5 5 3\nCELL_DATA 3\nSCALARS labels float\n1 2 8\n";
  Folder folder;
  write_text(folder / "a.vtk", text);
  EXPECT_EQ(mesh_dimension(folder / "a.vtk"), 2);
  const auto data = read_case<2>(folder / "a.vtk", 1.);
  EXPECT_EQ(data.mesh.vertices[3], dealii::Point<2>(1, 1));
  EXPECT_EQ(data.mesh.labels, (std::vector<int>{1, 2}));
  ASSERT_EQ(data.mesh.boundary_faces.size(), 1u);
  EXPECT_EQ(data.mesh.boundary_faces[0].id, 8u);
  write_text(folder / "a.vtk", replaced(text, "1 1 2\n", "1 1 3\n"));
  expect_error<2>(folder / "a.vtk", {"vertex 3", "plane"});
}

TEST(VtkLegacy, RefusesBadFiles)
{
  Folder            folder;
  const std::string file  = folder / "a.vtk";
  const std::string good  = legacy(false, false, "labels", false);
  const auto        check = [&](const std::string              &what,
                         const std::string              &with,
                         const std::vector<std::string> &parts) {
    write_text(file, replaced(good, what, with));
    expect_error(file, parts);
  };
  check("# vtk DataFile", "# other", {"line"});
  check("Version 2.0", "Version 9.0", {"9.0"});
  check("ASCII", "UTF8", {"UTF8", "ASCII or BINARY"});
  check("UNSTRUCTURED_GRID", "POLYDATA", {"POLYDATA"});
  check("POINTS 5", "POINTS 99999999999", {"points", "count"});
  check("POINTS 5 double", "POINTS 5 string", {"'string'"});
  check("POINTS 5 double\n0", "POINTS 5 double\nzero", {"line", "'zero'"});
  check("POINTS 5 double\n0", "POINTS 5 double\nnan", {"vertex 0", "nan"});
  check("CELLS 5 21", "CELLS 5 20", {"CELLS"});
  check("4 0 1 2 3", "4 0 1 2 9", {"cell 0", "9", "0 to 4"});
  check("4 0 1 2 3", "9 0 1 2 3", {"number of vertices of cell"});
  check("10 10 5", "12 10 5", {"cell 0", "hexahedron"});
  check("10 10 5", "24 10 5", {"cell 0", "quadratic tetrahedron"});
  check("10 10 5 5", "10 10 9 5", {"cell 2", "quadrilateral"});
  check("CELL_TYPES 5", "CELL_TYPES 4", {"line"});
  check("\n3 4 5", "\n3.5 4 5", {"'labels'", "3.5", "[0, 0]"});
  check("\n3 4 5", "\n3 4 -5", {"cell 2", "-5"});
  check("VECTORS", "WONDERS", {"'WONDERS'"});

  for (const bool binary : {false, true})
    for (const bool new_layout : {false, true})
      {
        const std::string whole = legacy(binary, new_layout, "labels", true);
        for (const double share : {0.05, 0.2, 0.4, 0.6, 0.8, 0.95})
          {
            write_text(
              file,
              whole.substr(0, static_cast<std::size_t>(share * whole.size())));
            expect_error(file, {});
          }
      }
  write_text(file, "");
  expect_error(file, {"empty"});
}

TEST(Vtu, ReadsEveryEncoding)
{
  for (const std::string format : {"ascii", "binary", "appended"})
    for (const std::string encoding : {"raw", "base64"})
      for (const std::string header : {"UInt32", "UInt64"})
        for (const bool compressed : {false, true})
          for (const bool big_endian : {false, true})
            {
              SCOPED_TRACE(format + encoding + header +
                           (compressed ? " compressed" : "") +
                           (big_endian ? " big endian" : ""));
              Folder folder;
              write_text(folder / "a.vtu",
                         vtu(
                           {format, encoding, header, compressed, big_endian}));
              EXPECT_EQ(mesh_dimension(folder / "a.vtu"), 3);
              expect_vtk_content(read_case<3>(folder / "a.vtu", 1.));
            }
}

TEST(Vtu, RefusesBadFiles)
{
  Folder            folder;
  const std::string file  = folder / "a.vtu";
  const auto        check = [&](const VtuOptions               &options,
                         const std::string              &what,
                         const std::string              &with,
                         const std::vector<std::string> &parts) {
    write_text(file, replaced(vtu(options), what, with));
    expect_error(file, parts);
  };
  VtuOptions ascii, zlib;
  zlib.format     = "binary";
  zlib.compressed = true;
  check(zlib, "vtkZLib", "vtkLZ4", {"vtkLZ4DataCompressor"});
  check(zlib, "vtkZLib", "vtkLZMA", {"vtkLZMADataCompressor"});
  check(ascii, "UnstructuredGrid", "PolyData", {"PolyData"});
  check(ascii, "UInt32", "UInt16", {"UInt16"});
  check(ascii, "\"Points\"", "\"Points\" x", {"line"});
  check(ascii, "Name=\"types\"", "Name=\"kinds\"", {"'types'"});
  check(ascii, "NumberOfPoints=\"5\"", "NumberOfPoints=\"6\"", {"expected"});
  check(ascii, "NumberOfCells=\"5\"", "NumberOfCells=\"x\"", {"'x'"});
  check(ascii, "10 10 5", "10 13 5", {"cell 1", "wedge"});
  check(ascii, "0 1 2 3 1 2 3 4", "0 1 2 3 1 2 3 -4", {"cell 1", "-4"});
  check(ascii, "4 8 11", "4 3 11", {"offsets of cell 1"});
  check(ascii, "4 8 11", "4 x 11", {"'offsets'", "x"});
  check(ascii, "format=\"ascii\"", "format=\"other\"", {"'other'"});
  check(ascii, "Float64", "Float16", {"'Float16'"});
  check(ascii, "</Piece>", "</Piece><Piece/>", {"pieces"});

  for (const std::string format : {"ascii", "binary", "appended"})
    for (const bool compressed : {false, true})
      {
        VtuOptions options;
        options.format          = format;
        options.compressed      = compressed;
        const std::string whole = vtu(options);
        for (const double share : {0.02, 0.2, 0.4, 0.6, 0.8, 0.98})
          {
            write_text(
              file,
              whole.substr(0, static_cast<std::size_t>(share * whole.size())));
            expect_error(file, {});
          }
      }

  // Appended data cut short inside an otherwise whole file.
  VtuOptions appended;
  appended.format         = "appended";
  const std::string whole = vtu(appended);
  const std::size_t end   = whole.find("\n</AppendedData>");
  write_text(file, whole.substr(0, end - 30) + whole.substr(end));
  expect_error(file, {});
  // A block that does not decompress.
  appended.compressed = true;
  std::string damaged = vtu(appended);
  damaged[damaged.find("_") + 40] ^= 0x55;
  write_text(file, damaged);
  error_of([&]() { read_case<3>(file, 1.); });
}

TEST(Vtu, NotesDisplacementsOfOtherWidth)
{
  Folder folder;
  write_text(folder / "a.vtu",
             replaced(vtu({}), text_of(displacement), "1 2 3 4 5\n"));
  const auto data = read_case<3>(folder / "a.vtu", 1.);
  EXPECT_TRUE(data.arrays.empty());
  expect_contains(data.notes.back(), {"displacement_field"});
}
