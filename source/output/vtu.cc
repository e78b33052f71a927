#include <deal.II/numerics/data_out.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/output/vtu.h>

#include <list>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// A vector per cell as point data of the cell's own points.
    template <int dim>
    class CellVector : public DataPostprocessorVector<dim>
    {
    public:
      CellVector(const std::string                 &name,
                 const std::vector<Tensor<1, dim>> &values)
        : DataPostprocessorVector<dim>(name, update_values)
        , values(values)
      {}
      void
      evaluate_vector_field(
        const DataPostprocessorInputs::Vector<dim> &inputs,
        std::vector<dealii::Vector<double>>        &computed) const override
      {
        const unsigned int k =
          inputs.template get_cell<dim>()->active_cell_index();
        for (auto &c : computed)
          for (unsigned int d = 0; d < dim; ++d)
            c[d] = values[k][d];
      }

    private:
      const std::vector<Tensor<1, dim>> values; ///< by active cell index
    };
  } // namespace

  namespace
  {
    std::string
    piece_name(const std::string &name,
               const unsigned int rank,
               const unsigned int n_ranks)
    {
      return n_ranks == 1
               ? name + ".vtu"
               : name + "." + Utilities::int_to_string(rank, 4) + ".vtu";
    }

    /// name.vtu, or one piece per rank and name.pvtu.
    template <typename Output>
    std::string
    write_pieces(const std::string &directory,
                 const std::string &name,
                 const Output      &out,
                 const MPI_Comm    &comm)
    {
      const unsigned int rank    = Utilities::MPI::this_mpi_process(comm);
      const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(comm);
      std::string        message;
      try
        {
          std::ostringstream text;
          out.write_vtu(text);
          write_file(directory + "/" + piece_name(name, rank, n_ranks),
                     text.str());
        }
      catch (const Error &e)
        {
          message = e.what();
        }
      for (const auto &m : Utilities::MPI::all_gather(comm, message))
        if (!m.empty())
          throw ComputationError(m);
      if (n_ranks == 1)
        return name + ".vtu";
      run_on_root(comm, [&]() {
        std::vector<std::string> pieces;
        for (unsigned int r = 0; r < n_ranks; ++r)
          pieces.push_back(piece_name(name, r, n_ranks));
        std::ostringstream text;
        out.write_pvtu_record(text, pieces);
        write_file(directory + "/" + name + ".pvtu", text.str());
      });
      return name + ".pvtu";
    }
  } // namespace

  std::vector<std::string>
  piece_names(const std::string &name, const MPI_Comm &comm)
  {
    return {piece_name(name,
                       Utilities::MPI::this_mpi_process(comm),
                       Utilities::MPI::n_mpi_processes(comm)),
            name + ".pvtu"};
  }

  namespace
  {
    /// Patches, of which the first n_vectors * dim values are vectors.
    template <int structdim, int dim>
    class PatchOutput : public DataOutInterface<structdim, dim>
    {
    protected:
      unsigned int                                    n_vectors = 1;
      std::vector<DataOutBase::Patch<structdim, dim>> patches;
      std::vector<std::string>                        names;

      void
      add(DataOutBase::Patch<structdim, dim> &patch)
      {
        patch.patch_index = patches.size();
        set_kind(patch);
        patches.push_back(patch);
      }

    private:
      static void
      set_kind(DataOutBase::Patch<1, dim> &patch)
      {
        patch.reference_cell = ReferenceCells::Line;
        patch.n_subdivisions = 1;
      }
      static void
      set_kind(DataOutBase::Patch<0, dim> &)
      {} // points know

      const std::vector<DataOutBase::Patch<structdim, dim>> &
      get_patches() const override
      {
        return patches;
      }
      std::vector<std::string>
      get_dataset_names() const override
      {
        return names;
      }
      std::vector<
        std::tuple<unsigned int,
                   unsigned int,
                   std::string,
                   DataComponentInterpretation::DataComponentInterpretation>>
      get_nonscalar_data_ranges() const override
      {
        std::vector<
          std::tuple<unsigned int,
                     unsigned int,
                     std::string,
                     DataComponentInterpretation::DataComponentInterpretation>>
          ranges;
        for (unsigned int i = 0; i < n_vectors; ++i)
          ranges.emplace_back(
            i * dim,
            (i + 1) * dim - 1,
            names[i * dim],
            DataComponentInterpretation::component_is_part_of_vector);
        return ranges;
      }
    };

    /// Springs as lines, or vertices as points, with all values at the nodes or
    /// constant over a line.
    template <int structdim, int dim>
    class NetworkOutput : public PatchOutput<structdim, dim>
    {
    public:
      NetworkOutput(const Discretization<dim> &D, const VtuData<dim> &data)
      {
        auto &names     = this->names;
        this->n_vectors = data.nodal.size();
        for (const auto &[title, vector] : data.nodal)
          names.insert(names.end(), dim, title);
        for (const auto &[title, values] : data.nodal_scalars)
          names.push_back(title);
        if (structdim == 1)
          for (const auto &[title, values] : data.cell)
            names.push_back(title);
        constexpr unsigned int ends = structdim + 1;
        const std::size_t      n =
          structdim == 1 ? D.n_owned_cells() : D.n_owned_nodes();
        for (std::size_t k = 0; k < n; ++k)
          {
            DataOutBase::Patch<structdim, dim> patch;
            patch.data.reinit(names.size(), ends);
            for (unsigned int end = 0; end < ends; ++end)
              {
                const unsigned int node =
                  structdim == 1 ? D.cell_nodes[2 * k + end] : k;
                unsigned int row    = 0;
                patch.vertices[end] = D.node_position(node);
                for (const auto &[title, vector] : data.nodal)
                  for (unsigned int d = 0; d < dim; ++d)
                    patch.data(row++, end) =
                      vector.local_element(node * dim + d);
                for (const auto &[title, values] : data.nodal_scalars)
                  patch.data(row++, end) = values[node];
                if (structdim == 1)
                  for (const auto &[title, values] : data.cell)
                    patch.data(row++, end) = values[k];
              }
            this->add(patch);
          }
      }
    };

    /// Lines with values of their own.
    template <int dim>
    class LineOutput : public PatchOutput<1, dim>
    {
    public:
      explicit LineOutput(const LineData<dim> &lines)
      {
        this->names.assign(dim, "displacement");
        for (const auto &[title, values] : lines.values)
          this->names.push_back(title);
        for (std::size_t i = 0; i < lines.points.size(); ++i)
          {
            DataOutBase::Patch<1, dim> patch;
            patch.data.reinit(this->names.size(), 2);
            for (unsigned int end = 0; end < 2; ++end)
              {
                patch.vertices[end] = lines.points[i][end];
                for (unsigned int d = 0; d < dim; ++d)
                  patch.data(d, end) = lines.displacements[i][end][d];
                for (std::size_t v = 0; v < lines.values.size(); ++v)
                  patch.data(dim + v, end) = lines.values[v].second[i];
              }
            this->add(patch);
          }
      }
    };

    /// With ghosts, whatever the given vectors have; nodal scalars too.
    template <int dim>
    VtuData<dim>
    with_ghosts(const Discretization<dim> &D, const VtuData<dim> &data)
    {
      VtuData<dim> all = data;
      for (auto &[title, vector] : all.nodal)
        vector.update_ghost_values();
      for (auto &[title, values] : all.nodal_scalars)
        {
          Field field(D.n_nodes());
          field.place = Place::vertices;
          std::copy_n(values.begin(), D.n_owned_nodes(), field.values.begin());
          D.update_ghosts(field);
          values = field.values;
        }
      return all;
    }
  } // namespace

  template <int dim>
  std::string
  write_points(const std::string         &directory,
               const std::string         &name,
               const Discretization<dim> &D,
               const VtuData<dim>        &data)
  {
    return write_pieces(directory,
                        name,
                        NetworkOutput<0, dim>(D, with_ghosts(D, data)),
                        D.comm);
  }

  template <int dim>
  std::string
  write_vtu(const std::string         &directory,
            const std::string         &name,
            const Discretization<dim> &D,
            const VtuData<dim>        &data)
  {
    if (D.is_network())
      return write_pieces(directory,
                          name,
                          NetworkOutput<1, dim>(D, with_ghosts(D, data)),
                          D.comm);
    const unsigned int n_active =
      D.dof_handler().get_triangulation().n_active_cells();

    DataOut<dim> out;
    out.attach_dof_handler(D.dof_handler());
    std::list<Vector> nodal; // with ghosts, whatever the given ones have
    for (const auto &[title, vector] : data.nodal)
      {
        nodal.push_back(vector);
        nodal.back().update_ghost_values();
        out.add_data_vector(
          nodal.back(),
          std::vector<std::string>(dim, title),
          DataOut<dim>::type_dof_data,
          std::vector<DataComponentInterpretation::DataComponentInterpretation>(
            dim, DataComponentInterpretation::component_is_part_of_vector));
      }
    std::vector<dealii::Vector<float>> cells;
    cells.reserve(data.cell.size());
    for (const auto &[title, values] : data.cell)
      {
        cells.emplace_back(n_active);
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          cells.back()[D.iterators[k]->active_cell_index()] = values[k];
        out.add_data_vector(cells.back(), title, DataOut<dim>::type_cell_data);
      }
    std::vector<std::unique_ptr<CellVector<dim>>> postprocessors;
    for (const auto &[title, values] : data.cell_vectors)
      {
        std::vector<Tensor<1, dim>> by_index(n_active);
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          by_index[D.iterators[k]->active_cell_index()] = values[k];
        postprocessors.push_back(
          std::make_unique<CellVector<dim>>(title, by_index));
        out.add_data_vector(nodal.front(), *postprocessors.back());
      }
    out.build_patches();
    DataOutBase::VtkFlags flags;
    flags.write_higher_order_cells = false;
    out.set_flags(flags);

    return write_pieces(directory, name, out, D.comm);
  }

  template <int dim>
  std::string
  write_lines(const std::string   &directory,
              const std::string   &name,
              const LineData<dim> &lines,
              const MPI_Comm      &comm)
  {
    return write_pieces(directory, name, LineOutput<dim>(lines), comm);
  }

  void
  write_pvd(const std::string                                 &directory,
            const std::string                                 &name,
            const std::vector<std::pair<double, std::string>> &times_and_files,
            const MPI_Comm                                    &comm)
  {
    run_on_root(comm, [&]() {
      std::ostringstream text;
      DataOutBase::write_pvd_record(text, times_and_files);
      write_file(directory + "/" + name + ".pvd", text.str());
    });
  }

  template std::string
  write_vtu(const std::string &,
            const std::string &,
            const Discretization<2> &,
            const VtuData<2> &);
  template std::string
  write_vtu(const std::string &,
            const std::string &,
            const Discretization<3> &,
            const VtuData<3> &);
  template std::string
  write_points(const std::string &,
               const std::string &,
               const Discretization<2> &,
               const VtuData<2> &);
  template std::string
  write_points(const std::string &,
               const std::string &,
               const Discretization<3> &,
               const VtuData<3> &);
  template std::string
  write_lines(const std::string &,
              const std::string &,
              const LineData<2> &,
              const MPI_Comm &);
  template std::string
  write_lines(const std::string &,
              const std::string &,
              const LineData<3> &,
              const MPI_Comm &);
} // namespace Palpate
